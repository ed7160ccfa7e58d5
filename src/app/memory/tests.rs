#![allow(clippy::unwrap_used)]

use futures::FutureExt;

use super::*;
use crate::config::{ConfigFile, Flags};
use crate::sample::TraceNote;

fn config(text: &str) -> Config {
    Config::load(&Flags::default(), &|_| None, Some(ConfigFile { name: "t", text }), None).unwrap()
}

fn notes(traces: usize) -> Notes {
    let note = TraceNote {
        trace_id: crate::wire::TraceId::from_slice(&[1; 16]).unwrap(),
        spans: 1,
        errors: 0,
        bytes: 100,
        start_unix_nano: 1,
        end_unix_nano: 2,
        has_root: true,
        randomness: None,
        matches: smallvec::SmallVec::new(),
        services: Default::default(),
    };
    Notes { traces: vec![note; traces], spans: traces as u32, rules_version: 1 }
}

#[tokio::test(start_paused = true)]
async fn notes_larger_than_the_budget_take_all_of_it_and_others_wait() {
    let budget = NotesBudget::new(10_000);
    let all = budget.room_for(&notes(1000)).await.unwrap();
    assert_eq!(budget.bytes_used(), 10_000);
    assert!(budget.room_for(&notes(1)).await.is_none());
    drop(all);
    assert!(budget.room_for(&notes(1)).now_or_never().unwrap().is_some());
}

#[test]
fn with_little_memory_fewer_questions_run_at_a_time() {
    let (at_once, one) = questions(&config("memory: { limit: 96MiB }"));
    assert_eq!(at_once, 1);
    assert!(one.bytes_max as u64 * QUESTION_PEAK <= 10 << 20 && one.bytes_max > 1 << 20, "{one:?}");
    let (at_once, each) = questions(&config("memory: { limit: 6GiB }"));
    assert!((2..=8).contains(&at_once), "{at_once}");
    assert!(each.bytes_max >= 32 << 20 && each.candidates_max == EngineConfig::default().candidates_max);
    assert_eq!(questions(&config("memory: { limit: 6GiB }\nquery: { concurrency: 2 }")).0, 2);
}
