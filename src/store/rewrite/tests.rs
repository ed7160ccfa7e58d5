#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::runtime::SystemRandom;
use crate::store::RetentionPolicy;
use crate::store::tests::fixtures::{DAY, Fixture, MapRecords, NOW, trace_id, traces, verdict};

struct Written {
    fixture: Fixture,
    store: Store,
    reader: Reader,
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<TraceId> {
    numbers.into_iter().map(trace_id).collect()
}

fn tenant() -> Tenant {
    Tenant::default()
}

impl Written {
    /// Batches of 50 traces of four spans each, a hundred numbers apart; the third a day earlier.
    async fn new() -> Self {
        let fixture = Fixture::new();
        let (store, reader) = (fixture.store("one"), fixture.reader());
        for (batch, start) in [(0, NOW), (1, NOW), (2, NOW - DAY)] {
            let records = MapRecords::of(&[traces(batch * 100, 50, start)]);
            store.write(&records.batch(batch + 1, &verdict("all", "default")), &records).await.unwrap();
        }
        Self { fixture, store, reader }
    }

    async fn rewrite(&self, traces: &BTreeSet<TraceId>, fate: Fate) -> Rewritten {
        self.store.rewrite(&self.reader, &tenant(), traces, &fate, &SystemRandom).await.unwrap()
    }

    async fn spans_of(&self, trace: u64) -> usize {
        self.reader.by_id(&tenant(), trace_id(trace)).await.unwrap().len()
    }

    /// Files and rows of `spans` by class, and whether everything is right.
    async fn rows(&self, class: &str) -> u64 {
        let verified = self.store.verify(&tenant(), |_, _| ()).await.unwrap();
        assert_eq!(verified.findings, vec![]);
        let inventory = self.store.inventory(&tenant(), None).await.unwrap();
        let of_class = inventory.partitions.iter().filter(|((retention, _), _)| retention == class);
        of_class.map(|(_, amount)| amount.rows).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_traces_are_gone_and_the_others_are_as_they_were() {
    let written = Written::new().await;
    let before = written.reader.by_id(&tenant(), trace_id(8)).await.unwrap();
    let rewritten = written.rewrite(&ids([7, 9, 205, 999]), Fate::Erased).await;
    assert_eq!((rewritten.spans, rewritten.traces), (12, 3));
    // Two files of each table hold some; the batch in between is not touched.
    assert_eq!(rewritten.files.len(), 4);
    assert!(rewritten.files.iter().all(|file| file.became.len() == 1));
    for trace in [7, 9, 205] {
        assert_eq!(written.spans_of(trace).await, 0);
    }
    assert_eq!(written.reader.by_id(&tenant(), trace_id(8)).await.unwrap(), before);
    assert_eq!(written.rows("default").await, 600 - 12);
    assert_eq!(
        written.rewrite(&ids([7, 9, 205]), Fate::Erased).await,
        Rewritten::default(),
        "once is enough"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_traces_are_under_the_other_class_and_outlive_the_first() {
    let written = Written::new().await;
    let before = written.reader.by_id(&tenant(), trace_id(3)).await.unwrap();
    let pinned = Fate::MovedTo("pinned".into());
    let rewritten = written.rewrite(&ids([3, 210]), pinned.clone()).await;
    assert_eq!((rewritten.spans, rewritten.traces), (8, 2));
    let mut after = written.reader.by_id(&tenant(), trace_id(3)).await.unwrap();
    assert!(after.iter().all(|span| *span.kept.as_ref().unwrap().retention == *"pinned"));
    for (after, before) in after.iter_mut().zip(&before) {
        after.kept = before.kept.clone();
    }
    assert_eq!(after, before);
    assert_eq!((written.rows("pinned").await, written.rows("default").await), (8, 592));
    assert_eq!(written.rewrite(&ids([3, 210]), pinned).await, Rewritten::default());

    let ages = [
        ("default".to_owned(), Duration::from_secs(3 * 86_400).into()),
        ("pinned".to_owned(), Duration::from_secs(90 * 86_400).into()),
    ];
    let policy = RetentionPolicy::new(ages.into());
    written.store.expire_tenant(&tenant(), &policy, NOW + 10 * DAY).await.unwrap();
    assert_eq!(
        (written.spans_of(3).await, written.spans_of(4).await, written.spans_of(210).await),
        (4, 0, 4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_which_nothing_is_left_leaves_without_a_successor() {
    let written = Written::new().await;
    let rewritten = written.rewrite(&ids(100..150), Fate::Erased).await;
    assert_eq!((rewritten.spans, rewritten.files.len()), (200, 2));
    assert!(rewritten.files.iter().all(|file| file.became.is_empty()));
    assert_eq!(written.rows("default").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_rewrites_at_the_same_time_is_neither_lost_nor_brought_back() {
    let written = Written::new().await;
    let other = written.fixture.store("two");
    for round in 0..5 {
        let (mine, theirs) = (ids([round * 2]), ids([round * 2 + 1]));
        let random = SystemRandom;
        let tenant = tenant();
        let first = written.store.rewrite(&written.reader, &tenant, &mine, &Fate::Erased, &random);
        let second = other.rewrite(&written.reader, &tenant, &theirs, &Fate::Erased, &random);
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.unwrap().spans, second.unwrap().spans), (4, 4));
    }
    assert_eq!(written.rows("default").await, 600 - 40);
}
