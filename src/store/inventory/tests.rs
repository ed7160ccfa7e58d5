#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::tests::fixtures::{DAY, Fixture, MapRecords, NOW, traces, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_those_of_what_was_written() {
    let fixture = Fixture::new();
    let store = fixture.store("one");
    for (batch, class, start) in [(1, "default", NOW), (2, "errors", NOW), (3, "errors", NOW - DAY)] {
        let records = MapRecords::of(&[traces(batch * 100, 10 * batch, start)]);
        store.write(&records.batch(batch, &verdict("all", class)), &records).await.unwrap();
    }
    let reader = fixture.reader();
    let inventory = store.inventory(&Tenant::default(), Some(&reader)).await.unwrap();
    assert_eq!((inventory.spans.files, inventory.spans.rows), (3, 4 * (10 + 20 + 30)));
    assert_eq!((inventory.traces.files, inventory.traces.rows), (3, 10 + 20 + 30));
    let rows: Vec<_> =
        inventory.partitions.iter().map(|((class, day), a)| (&**class, &**day, a.rows)).collect();
    assert_eq!(
        rows,
        [("default", "2026-11-21", 40), ("errors", "2026-11-20", 120), ("errors", "2026-11-21", 80)]
    );
    let bytes: u64 = inventory.partitions.values().map(|a| a.bytes).sum();
    assert_eq!(bytes, inventory.spans.bytes + inventory.traces.bytes);
    assert_eq!(inventory.services["shop"], ServiceAmount { traces: 60, errors: 6 });
    let nothing = store.inventory(&Tenant::new("nobody").unwrap(), None).await.unwrap();
    assert_eq!(nothing.spans, Amount::default());
}
