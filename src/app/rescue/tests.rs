#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::app::finder::tests::{World, id, verdict};
use crate::runtime::Tenant;

fn wish(trace: u8, rule: usize) -> Rescue {
    Rescue { tenant: Tenant::default(), trace_id: id(trace), verdict: verdict(&rule.to_string()) }
}

/// What the sampler's loop hears until the wishes are answered: who was found, by the rule that wanted it, and how many are gone.
async fn answers(world: &World, wishes: Vec<Rescue>) -> (Vec<usize>, usize) {
    let (events, mut inbox) = mpsc::channel(256);
    let (sender, receiver) = mpsc::channel(WISHES_QUEUE);
    sender.send(wishes).await.unwrap();
    drop(sender);
    let rescuing = Rescuing { finder: world.finder.clone(), events };
    let task = tokio::spawn(rescuing.run(receiver, Shutdown::new()));
    let (mut found, mut gone) = (Vec::new(), 0);
    while let Some(event) = inbox.recv().await {
        match event {
            Event::Rescued(rescued) => {
                found.extend(rescued.iter().map(|r| r.verdict.rule.parse::<usize>().unwrap()))
            }
            Event::Gone(..) => gone += 1,
            _ => panic!("nothing else is told"),
        }
    }
    tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    (found, gone)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_log_is_brought_back_and_the_others_are_given_up() {
    let mut world = World::new();
    world.put(&Tenant::default(), &[(1, 1), (3, 1)]);
    let wishes = vec![wish(1, 1), wish(2, 2), wish(3, 3)];
    assert_eq!(answers(&world, wishes).await, (vec![1, 3], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_wishes_the_oldest_are_given_up() {
    let mut world = World::new();
    world.put(&Tenant::default(), &[(1, 1)]);
    let wishes = (0..WISHES_MAX + 10).map(|rule| wish(1, rule)).collect();
    let (found, gone) = answers(&world, wishes).await;
    assert_eq!(gone, 10);
    assert_eq!(found, (10..WISHES_MAX + 10).collect::<Vec<_>>());
}
