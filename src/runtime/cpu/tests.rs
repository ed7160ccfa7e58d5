#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::*;

#[tokio::test]
async fn no_more_work_at_a_time_than_the_pool_is_wide() {
    let pool = CpuPool::new(Tasks::new(Handle::current()), NonZeroUsize::new(2).unwrap());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = (0..8).map(|n| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        pool.run("work", move || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
            n
        })
    });
    let done: Result<Vec<i32>, _> = futures::future::join_all(work).await.into_iter().collect();
    assert_eq!(done.unwrap(), (0..8).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_panic_gives_its_slot_back() {
    let pool = CpuPool::new(Tasks::new(Handle::current()), NonZeroUsize::MIN);
    let died: Result<(), Panicked> = pool.run("bad", || panic!("no")).await;
    assert!(died.is_err());
    assert_eq!(pool.run("good", || 1).await.unwrap(), 1);
}
