#![allow(clippy::unwrap_used)]

use super::*;

#[tokio::test]
async fn outcomes_come_back() {
    let tasks = Tasks::new(Handle::current());
    assert_eq!(tasks.spawn("async", async { 1 }).await.unwrap(), 1);
    assert_eq!(tasks.blocking("blocking", || 2).await.unwrap(), 2);
    let name = tasks.thread("named", || std::thread::current().name().map(str::to_owned)).unwrap();
    assert_eq!(name.await.unwrap().as_deref(), Some("named"));
}

#[tokio::test]
async fn a_panic_is_reported_and_kills_nobody_else() {
    let tasks = Tasks::new(Handle::current());
    let thread = tasks.thread("writer", || panic!("disk {}", 7)).unwrap();
    let died: Result<(), Panicked> = thread.await;
    assert_eq!(died.unwrap_err().to_string(), "writer died: disk 7");
    assert!(tasks.spawn("second", async { panic!("later") }).await.is_err());
    assert_eq!(tasks.first_panic().await.task, "writer");
    assert_eq!(tasks.first_panic().await.task, "writer");
}

#[tokio::test]
async fn an_aborted_task_says_so() {
    let tasks = Tasks::new(Handle::current());
    let task = tasks.spawn("endless", std::future::pending::<()>());
    task.abort();
    assert_eq!(task.await.unwrap_err().message, "aborted");
}
