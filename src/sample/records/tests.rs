#![allow(clippy::unwrap_used)]

use super::*;

fn verdict(rule: &str, threshold: Option<u64>) -> Arc<Verdict> {
    Arc::new(Verdict {
        keep: threshold.is_some(),
        rule: rule.into(),
        rules_version: 300,
        retention: "errors".into(),
        threshold: threshold.and_then(Threshold::new),
        erase_threshold: rule == "rate",
        early: true,
        late: false,
        debug: rule == "debug",
    })
}

fn decided() -> Vec<Decided> {
    let tenants = [Tenant::default(), Tenant::new("other").unwrap()];
    let verdicts =
        [verdict("rate", None), verdict("baseline", Some(0x00fd_70a0_0000_0000)), verdict("debug", Some(0))];
    (0..10u8)
        .map(|n| Decided {
            tenant: tenants[usize::from(n % 2)].clone(),
            trace_id: TraceId([n; 16]),
            verdict: verdicts[usize::from(n % 3)].clone(),
            up_to: Position(u64::from(n) << 40),
        })
        .collect()
}

fn rescued() -> Vec<Rescued> {
    let of = |decided: Decided| Rescued {
        tenant: decided.tenant,
        trace_id: decided.trace_id,
        verdict: decided.verdict,
        places: Places::from_slice(&[Position(7), Position(9), Position(1 << 40)]),
        spans: 3,
        bytes: 900,
        start_unix_nano: 1 << 60,
        end_unix_nano: (1 << 60) + 5,
        services: vec![("shop".into(), 2), ("".into(), 1)],
    };
    decided().into_iter().map(of).collect()
}

#[test]
fn records_read_back_as_they_were_written() {
    assert_eq!(decode_verdicts(&encode_verdicts(&decided())), Ok(decided()));
    let flush = Flush { batch: 1 << 33, traces: decided() };
    assert_eq!(decode_flush(&encode_flush(flush.batch, &flush.traces)), Ok(flush));
    let one = StoredSpans { tenant: Tenant::default(), service: "shop".into(), stored: 5, duplicates: 1 };
    let done = Done { batch: 77, stored: vec![one] };
    assert_eq!(decode_done(&encode_done(&done)), Ok(done));
    assert_eq!(decode_rescue(&encode_rescue(&rescued())), Ok(rescued()));
    assert_eq!(decode_verdicts(&encode_verdicts(&[])), Ok(vec![]));
}

#[test]
fn a_record_cut_anywhere_is_malformed_and_no_count_is_believed() {
    let whole = encode_flush(7, &decided());
    for length in 0..whole.len() {
        assert!(decode_flush(&whole[..length]).is_err(), "cut at {length}");
    }
    assert!(decode_verdicts(&[FORMAT, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    assert!(decode_verdicts(&[FORMAT + 1, 0, 0, 0]).is_err());
}
