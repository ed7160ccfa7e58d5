#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::*;
use crate::ledger::LedgerConfig;
use crate::log::Position;
use crate::runtime::disk::testing::MemDisk;
use crate::runtime::{SystemClock, Tasks};
use crate::sample::records::Decided;

fn verdict(rule: &str) -> Arc<Verdict> {
    Arc::new(Verdict { keep: false, rules_version: 3, ..crate::sample::testing::verdict(rule) })
}

#[tokio::test]
async fn a_verdict_that_has_left_memory_is_in_the_ledger() {
    let settings = LedgerConfig {
        dir: PathBuf::from("/decisions"),
        log: 1,
        keep: Duration::from_secs(3600),
        bytes_max: 1 << 20,
        memory_max: 1 << 20,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let ledger = Arc::new(Ledger::open(Arc::new(MemDisk::default()), clock, settings));
    let tenant = Tenant::default();
    for number in [1, 2] {
        let (trace_id, verdict, up_to) = (TraceId([number; 16]), verdict("noted"), Position(0));
        ledger.append(Position(9), 7, &[Decided { tenant: tenant.clone(), trace_id, verdict, up_to }]);
    }
    let (events, mut inbox) = mpsc::channel(4);
    let pool = CpuPool::new(Tasks::new(tokio::runtime::Handle::current()), NonZeroUsize::MIN);
    let remembered = Remembered { events, ledger, pool };
    let sampler = tokio::spawn(async move {
        while let Some(Event::Verdict(_, trace_id, answer)) = inbox.recv().await {
            let _ = answer.send((trace_id.0[0] == 1).then(|| verdict("in memory")));
        }
    });
    let rule = async |number: u8| {
        remembered.verdict(&tenant, TraceId([number; 16])).await.map(|verdict| verdict.rule.to_string())
    };
    assert_eq!(rule(1).await.as_deref(), Some("in memory"));
    assert_eq!(rule(2).await.as_deref(), Some("noted"));
    assert_eq!(rule(3).await, None);
    sampler.abort();
}
