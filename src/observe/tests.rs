#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::enrich::{EnrichStats, Place, PodStats, Redacted};
use crate::ledger::LedgerStats;
use crate::log::{AppendError, LogStats, Position, RecorderStats};
use crate::receive::ReceiveStats;
use crate::rules_source::{RulesProblem, RulesStatus};
use crate::runtime::ProcessUsage;
use crate::runtime::Tenant;
use crate::sample::{Account, AccountOf, SamplerStats, Tally};

/// What a snapshot borrows.
struct Daemon {
    receive: ReceiveStats,
    enrich: EnrichStats,
    memory: MemoryUse,
    log: LogStats,
    sampler: SamplerStats,
    ledger: LedgerStats,
    rules: RulesStatus,
    losses: LossLedger,
    trust: TrustNow,
    store: StoreStats,
}

impl Daemon {
    fn new() -> Self {
        let admission = MemoryPart { name: "admission", used: 600, bound: 1000 };
        Self {
            receive: ReceiveStats::default(),
            enrich: EnrichStats {
                redacted: vec![Redacted { rule: "key:token".into(), place: Place::Span, count: 3 }],
                changed: [5, 1, 0, 0],
                pods: Some(PodStats {
                    pods: 4,
                    bytes: 2000,
                    synced: true,
                    failures: 2,
                    ..PodStats::default()
                }),
            },
            memory: MemoryUse { limit: 5000, parts: vec![admission] },
            log: LogStats {
                bytes: 4096,
                damaged: 2,
                fsyncs: 7,
                fsync_time: Duration::from_millis(1500),
                durable: Position(9000),
                recorder: RecorderStats { written: 8, missing: 1, memory_bytes: 96, rebuilt: 3 },
                ..LogStats::default()
            },
            sampler: SamplerStats {
                records_applied: 70,
                spans_received: 500,
                kept_by_rule: [(Arc::from("errors"), Tally { traces: 3, spans: 30 })].into(),
                dropped_by_rule: [(Arc::from("base"), Tally { traces: 40, spans: 400 })].into(),
                adjusted_count_spans: 512.5,
                pending_traces: 6,
                kept_traces_not_stored: 2,
                index_bytes: 2048,
                ..SamplerStats::default()
            },
            ledger: LedgerStats {
                entries: 12,
                bytes: 345,
                oldest_unix_nano: 1_700_000_000_000_000_000,
                lost: 1,
                ..LedgerStats::default()
            },
            rules: RulesStatus {
                version: 4,
                source: "rules.yaml".into(),
                loaded_at_unix_nano: 1_700_000_000_500_000_000,
                error: None,
            },
            losses: LossLedger {
                accounts: vec![AccountOf {
                    tenant: Tenant::default(),
                    service: "shop \"1\"".into(),
                    account: Account {
                        received: 9,
                        dropped: [("base".into(), 4)].into(),
                        ..Account::default()
                    },
                }],
                expired: [(Tenant::default(), 2)].into(),
            },
            trust: TrustNow { denied: vec![("missing", 3)], ..TrustNow::default() },
            store: StoreStats { batches: 5, spans: 25, bytes: 777, ..StoreStats::default() },
        }
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            forward: None,
            fleet: None,
            asker: None,
            export: &[],
            uptime: Duration::from_millis(2500),
            ready: Ok(()),
            receive: &self.receive,
            enrich: &self.enrich,
            memory: &self.memory,
            log: &self.log,
            sampler: &self.sampler,
            ledger: &self.ledger,
            rules: &self.rules,
            losses: &self.losses,
            trust: &self.trust,
            store: &self.store,
            process: Some(ProcessUsage {
                cpu: Duration::from_millis(1250),
                resident_bytes: 1 << 20,
                resident_bytes_max: 1 << 21,
            }),
        }
    }
}

/// Samples by name and labels, after a check of every line: each family is described once, before its samples, which have
/// the suffix of its type; the text ends with the end marker.
fn parse(text: &str) -> BTreeMap<&str, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the end marker");
    let (mut samples, mut families, mut helped, mut prefix) =
        (BTreeMap::new(), BTreeSet::new(), "", String::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            match what {
                "HELP" => {
                    assert!(families.insert(name) && rest.len() > 5 && rest.ends_with('.'), "{line}");
                    helped = name;
                }
                "TYPE" => {
                    assert_eq!(name, helped, "{line}");
                    let suffix = match rest {
                        "counter" => "_total",
                        "info" => "_info",
                        "gauge" => "",
                        _ => panic!("{line}"),
                    };
                    prefix = format!("{name}{suffix}");
                }
                "UNIT" => assert!(name == helped && name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let labels = series.strip_prefix(&prefix).unwrap_or_else(|| panic!("{line} under {prefix}"));
            let quoted = |l: &str| l.strip_prefix('{')?.strip_suffix("\"}")?.split_once("=\"").map(|_| ());
            assert!(labels.is_empty() || quoted(labels).is_some(), "{line}");
            assert_eq!(samples.insert(series, value.parse().unwrap()), None, "{line}");
        }
    }
    samples
}

#[test]
fn metrics_are_open_metrics_text_with_the_numbers_of_the_stages() {
    let daemon = Daemon::new();
    let text = metrics::render(&daemon.snapshot());
    let samples = parse(&text);
    let expected = [
        ("tracewell_uptime_seconds", 2.5),
        ("tracewell_ready", 1.0),
        ("tracewell_receive_requests_total{transport=\"http/json\"}", 0.0),
        ("tracewell_receive_refused_total{reason=\"too_large\"}", 0.0),
        ("tracewell_receive_rejected_spans_total", 0.0),
        ("tracewell_receive_wire_bytes_total", 0.0),
        ("tracewell_receive_budget_used_bytes", 600.0),
        ("tracewell_auth_denied_total{reason=\"missing\"}", 3.0),
        ("tracewell_tls_certificate_expiry_timestamp_seconds", 0.0),
        ("tracewell_enrich_redactions_total{rule=\"key:token\",place=\"span\"}", 3.0),
        ("tracewell_enrich_changed_attributes_total{scope=\"resource\"}", 1.0),
        ("tracewell_enrich_pods", 4.0),
        ("tracewell_enrich_pods_bytes", 2000.0),
        ("tracewell_enrich_pods_up_to_date", 1.0),
        ("tracewell_enrich_pods_failures_total", 2.0),
        ("tracewell_memory_bytes{part=\"admission\"}", 600.0),
        ("tracewell_memory_bound_bytes{part=\"admission\"}", 1000.0),
        ("tracewell_memory_limit_bytes", 5000.0),
        ("tracewell_log_bytes", 4096.0),
        ("tracewell_log_fsyncs_total", 7.0),
        ("tracewell_log_fsync_seconds_total", 1.5),
        ("tracewell_log_damaged_records_total", 2.0),
        ("tracewell_log_refusing", 0.0),
        ("tracewell_recorder_indexed_segments", 8.0),
        ("tracewell_recorder_missing_segments", 1.0),
        ("tracewell_recorder_rebuilt_segments_total", 3.0),
        ("tracewell_recorder_index_bytes", 96.0),
        ("tracewell_sample_applied_records_total", 70.0),
        ("tracewell_sample_spans_received_total", 500.0),
        ("tracewell_sample_kept_traces_total{rule=\"errors\"}", 3.0),
        ("tracewell_sample_kept_traces_total{rule=\"base\"}", 0.0),
        ("tracewell_sample_kept_spans_total{rule=\"errors\"}", 30.0),
        ("tracewell_sample_dropped_traces_total{rule=\"base\"}", 40.0),
        ("tracewell_sample_dropped_spans_total{rule=\"base\"}", 400.0),
        ("tracewell_sample_adjusted_count_spans_total", 512.5),
        ("tracewell_sample_pending_traces", 6.0),
        ("tracewell_sample_index_bytes", 2048.0),
        ("tracewell_decisions", 12.0),
        ("tracewell_decisions_bytes", 345.0),
        ("tracewell_decisions_oldest_timestamp_seconds", 1_700_000_000.0),
        ("tracewell_decisions_damaged_total", 0.0),
        ("tracewell_decisions_lost_total", 1.0),
        ("tracewell_rules_valid", 1.0),
        ("tracewell_rules_version", 4.0),
        ("tracewell_rules_loaded_timestamp_seconds", 1_700_000_000.5),
        ("tracewell_store_batches_total", 5.0),
        ("tracewell_store_bytes_total", 777.0),
        ("tracewell_store_last_commit_timestamp_seconds", 0.0),
        ("process_cpu_seconds_total", 1.25),
        ("process_resident_memory_bytes", 1_048_576.0),
    ];
    for (series, value) in expected {
        assert_eq!(samples.get(series), Some(&value), "{series}\n{text}");
    }
    let build = format!("tracewell_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&*build), Some(&1.0), "{text}");
    assert!(text.contains("# TYPE tracewell_log_fsync_seconds counter\n"), "{text}");
}

#[test]
fn what_is_wrong_shows_in_metrics() {
    let mut daemon = Daemon::new();
    daemon.rules.error = Some(RulesProblem::at("no such key", 3, 5));
    daemon.log.refusing = Some(AppendError::DiskFull);
    let snapshot = Snapshot { ready: Err("the disk is full".into()), process: None, ..daemon.snapshot() };
    let text = metrics::render(&snapshot);
    let samples = parse(&text);
    for series in ["tracewell_rules_valid", "tracewell_ready"] {
        assert_eq!(samples[series], 0.0);
    }
    assert_eq!(samples["tracewell_log_refusing"], 1.0);
    assert!(!text.contains("process_"));
}

#[test]
fn rules_beyond_the_bound_are_counted_together() {
    let mut daemon = Daemon::new();
    let name = |n: usize| Arc::<str>::from(format!("rule {n:04} \"quoted\"\\\n"));
    daemon.sampler.kept_by_rule = (0..300).map(|n| (name(n), Tally { traces: 1, spans: 10 })).collect();
    daemon.sampler.dropped_by_rule = (250..260).map(|n| (name(n), Tally { traces: 2, spans: 20 })).collect();
    let text = metrics::render(&daemon.snapshot());
    let samples = parse(&text);
    let kept: Vec<_> =
        samples.iter().filter(|(k, _)| k.starts_with("tracewell_sample_kept_traces_t")).collect();
    assert_eq!((kept.len(), kept.iter().map(|(_, v)| **v).sum::<f64>()), (201, 300.0));
    assert_eq!(samples["tracewell_sample_kept_spans_total{rule=\"other\"}"], 1000.0);
    assert_eq!(samples["tracewell_sample_dropped_traces_total{rule=\"other\"}"], 20.0);
    assert_eq!(samples["tracewell_sample_kept_traces_total{rule=\"rule 0007 \\\"quoted\\\"\\\\\\n\"}"], 1.0);

    // A rule that is itself called so takes the others in.
    daemon.sampler.kept_by_rule.insert("other".into(), Tally { traces: 5, spans: 50 });
    let text = metrics::render(&daemon.snapshot());
    let sum = |samples: BTreeMap<&str, f64>| {
        samples
            .iter()
            .filter(|(k, _)| k.starts_with("tracewell_sample_kept_traces_t"))
            .map(|(_, v)| v)
            .sum::<f64>()
    };
    assert_eq!(sum(parse(&text)), 305.0);
}

#[test]
fn the_status_document_has_its_fixed_names() {
    let mut daemon = Daemon::new();
    daemon.rules.error = Some(RulesProblem::at("no such key", 3, 5));
    daemon.log.refusing = Some(AppendError::LimitReached);
    let snapshot = Snapshot { ready: Err("the log is full".into()), ..daemon.snapshot() };
    let document = status::status(&snapshot);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["uptime_seconds"], 2.5);
    assert_eq!(
        (&document["ready"], &document["not_ready_reason"]),
        (&json!(false), &json!("the log is full"))
    );
    assert_eq!(
        document["rules"],
        json!({
            "version": 4, "source": "rules.yaml", "loaded_at": "2023-11-14T22:13:20.5Z",
            "error": {"message": "no such key", "line": 3, "column": 5},
        })
    );
    assert_eq!(
        document["sample"],
        json!({
            "applied_records": 70, "spans_received": 500, "pending_traces": 6, "kept_traces_not_stored": 2,
            "adjusted_count_spans": 512.5, "decided_early": 0, "late_spans_kept": 0, "late_spans_dropped": 0,
            "rescued_traces": 0, "rescued_spans": 0, "rescues_missed": 0,
            "index_bytes": 2048, "decisions": 0, "decisions_bytes": 0,
            "by_rule": [
                {"rule": "base", "kept_traces": 0, "kept_spans": 0, "dropped_traces": 40, "dropped_spans": 400},
                {"rule": "errors", "kept_traces": 3, "kept_spans": 30, "dropped_traces": 0, "dropped_spans": 0},
            ],
        })
    );
    assert_eq!(
        document["decisions"],
        json!({
            "entries": 12, "bytes": 345, "files": 0, "oldest_at": "2023-11-14T22:13:20Z", "waiting": 0,
            "damaged": 0, "lost": 1, "failed_writes": 0,
        })
    );
    let redacted = json!([{ "rule": "key:token", "place": "span", "count": 3 }]);
    assert_eq!(document["enrich"]["redacted"], redacted);
    assert_eq!(document["enrich"]["changed_attributes"]["span"], json!(5));
    assert_eq!(document["enrich"]["pods"]["known"], json!(4));
    assert_eq!(document["receive"]["requests"], json!({"grpc": 0, "http/protobuf": 0, "http/json": 0}));
    assert_eq!(document["receive"]["refused"]["malformed"], 0);
    assert_eq!(document["receive"]["budget_used_bytes"], 600);
    assert_eq!(document["log"]["fsync_seconds"], 1.5);
    assert_eq!(document["log"]["durable_position"], 9000);
    assert_eq!(
        document["log"]["recorder"],
        json!({"indexed_segments": 8, "missing_segments": 1, "rebuilt_segments": 3, "index_bytes": 96}),
    );
    assert_eq!(document["log"]["refusing"], "the log has reached its size limit");
    assert_eq!(
        (&document["store"]["batches"], &document["store"]["last_commit_at"]),
        (&json!(5), &json!(null))
    );
    assert_eq!(document["process"]["cpu_seconds"], 1.25);
    assert_eq!(
        document["memory"],
        json!({ "limit": 5000, "resident": 1_048_576, "parts": { "admission": { "used": 600, "bound": 1000 } } })
    );

    daemon.store.last_commit_unix_nano = 1_700_000_000_000_000_000;
    let document = status::status(&daemon.snapshot());
    assert_eq!(document["store"]["last_commit_at"], "2023-11-14T22:13:20Z");
    assert_eq!((&document["ready"], &document["not_ready_reason"]), (&json!(true), &json!(null)));
}
