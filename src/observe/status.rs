//! `/status`: what the daemon is doing, as one JSON document. Names are stable; sizes are in bytes, counts are since the
//! start of the process.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::forward::ForwardStats;
use super::snapshot::{Snapshot, VERSION};
use crate::receive::{Metered, Reason, Transport};

/// The document: `version`, `uptime_seconds`, `ready`, `not_ready_reason`, and an object for each of `rules`, `receive`, `trust`,
/// `enrich`, `log`, `sample`, `decisions`, `store`, `fleet` (null without one), `export` (a list of
/// backends), `memory` and `process`. Times are RFC 3339, or null where there is none yet.
///
/// Of an agent: `version`, `role`, `uptime_seconds`, `ready`, `not_ready_reason`, `receive`, `trust`, `enrich`, `log`, `forward`,
/// `memory` and `process`.
pub fn status(snapshot: &Snapshot<'_>) -> Value {
    if let Some(stats) = snapshot.forward {
        return agent(snapshot, stats);
    }
    json!({
        "version": VERSION,
        "uptime_seconds": snapshot.uptime.as_secs_f64(),
        "ready": snapshot.ready.is_ok(),
        "not_ready_reason": snapshot.ready.as_ref().err(),
        "rules": snapshot.rules,
        "receive": receive(snapshot),
        "trust": super::trust::status(snapshot.trust),
        "enrich": super::enrich::status(snapshot.enrich),
        "log": log(snapshot),
        "sample": sample(snapshot),
        "losses": super::losses::status(snapshot.losses),
        "decisions": decisions(snapshot),
        "store": store(snapshot),
        "fleet": snapshot.fleet.map(super::fleet::status),
        "export": super::export::status(snapshot.export),
        "memory": memory(snapshot),
        "process": process(snapshot),
    })
}

fn agent(snapshot: &Snapshot<'_>, stats: &ForwardStats) -> Value {
    json!({
        "version": VERSION,
        "role": "agent",
        "uptime_seconds": snapshot.uptime.as_secs_f64(),
        "ready": snapshot.ready.is_ok(),
        "not_ready_reason": snapshot.ready.as_ref().err(),
        "receive": receive(snapshot),
        "trust": super::trust::status(snapshot.trust),
        "enrich": super::enrich::status(snapshot.enrich),
        "log": log(snapshot),
        "forward": super::forward::status(stats),
        "memory": memory(snapshot),
        "process": process(snapshot),
    })
}

fn receive(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.receive;
    let by_name = |counts: &[(&str, u64)]| -> Map<String, Value> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
    };
    let over_rate = stats.over_rate(snapshot.asker).into_iter().map(|(tenant, counts)| {
        let counts = Metered::ALL.map(|what| (what.name(), counts[what as usize]));
        (tenant.to_string(), Value::Object(by_name(&counts)))
    });
    json!({
        "requests": by_name(&Transport::ALL.map(|transport| (transport.name(), stats.requests(transport)))),
        "refused": by_name(&Reason::ALL.map(|reason| (reason.name(), stats.refused(reason)))),
        "over_rate": over_rate.collect::<Map<_, _>>(),
        "rejected_spans": stats.rejected_spans(),
        "wire_bytes": stats.wire_bytes(),
        "body_bytes": stats.body_bytes(),
        "json_snake_case_keys": stats.json_snake_case_keys(),
        "connections": stats.connections(),
        "connections_open": stats.connections_open(),
        "budget_used_bytes": snapshot.memory.used_by("admission"),
    })
}

fn log(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.log;
    json!({
        "bytes": stats.bytes,
        "segments": stats.segments,
        "records": stats.records,
        "replayed_records": stats.replayed,
        "refused_records": stats.refused,
        "damaged_records": stats.damaged,
        "damaged_bytes": stats.damaged_bytes,
        "torn_bytes": stats.torn_bytes,
        "abandoned_segments": stats.abandoned,
        "fsyncs": stats.fsyncs,
        "fsync_seconds": stats.fsync_time.as_secs_f64(),
        "queue_bytes": stats.queue_bytes,
        "cache_bytes": stats.cache_bytes,
        "oldest_position": stats.oldest.0,
        "durable_position": stats.durable.0,
        "recorder": {
            "indexed_segments": stats.recorder.written,
            "missing_segments": stats.recorder.missing,
            "rebuilt_segments": stats.recorder.rebuilt,
            "index_bytes": stats.recorder.memory_bytes,
        },
        "refusing": stats.refusing.map(|error| error.to_string()),
    })
}

fn sample(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.sampler;
    let by_rule = snapshot.by_rule().into_iter().map(|tally| {
        json!({
            "rule": tally.rule,
            "kept_traces": tally.kept.traces,
            "kept_spans": tally.kept.spans,
            "dropped_traces": tally.dropped.traces,
            "dropped_spans": tally.dropped.spans,
        })
    });
    json!({
        "applied_records": stats.records_applied,
        "spans_received": stats.spans_received,
        "pending_traces": stats.pending_traces,
        "kept_traces_not_stored": stats.kept_traces_not_stored,
        "adjusted_count_spans": stats.adjusted_count_spans,
        "decided_early": stats.decided_early,
        "late_spans_kept": stats.late_spans_kept,
        "late_spans_dropped": stats.late_spans_dropped,
        "rescued_traces": stats.rescued.traces,
        "rescued_spans": stats.rescued.spans,
        "rescues_missed": stats.rescues_missed,
        "index_bytes": stats.index_bytes,
        "decisions": stats.decisions,
        "decisions_bytes": stats.decisions_bytes,
        "by_rule": by_rule.collect::<Vec<_>>(),
    })
}

fn decisions(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.ledger;
    json!({
        "entries": stats.entries,
        "bytes": stats.bytes,
        "files": stats.files,
        "oldest_at": time(stats.oldest_unix_nano),
        "waiting": stats.waiting,
        "damaged": stats.damaged,
        "lost": stats.lost,
        "failed_writes": stats.failures,
    })
}

fn store(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.store;
    json!({
        "batches": stats.batches,
        "spans": stats.spans,
        "traces": stats.traces,
        "files": stats.files,
        "bytes": stats.bytes,
        "duplicate_spans": stats.duplicate_spans,
        "retries": stats.retries,
        "unreadable_records": stats.unreadable_records,
        "last_commit_at": time(stats.last_commit_unix_nano),
        "compaction": compaction(snapshot),
    })
}

fn compaction(snapshot: &Snapshot<'_>) -> Value {
    let stats = snapshot.store.compaction;
    json!({
        "units": stats.done.units,
        "given_up": stats.done.given_up,
        "failures": stats.failures,
        "files_in": stats.done.files_in,
        "files_out": stats.done.files_out,
        "bytes_in": stats.done.bytes_in,
        "bytes_out": stats.done.bytes_out,
        "rows": stats.done.rows_in,
        "joined_rows": stats.done.joined,
        "cpu_seconds": stats.cpu.as_secs_f64(),
    })
}

/// All in bytes. `resident` is more than the parts: the program itself, its threads and connections are not in them.
fn memory(snapshot: &Snapshot<'_>) -> Value {
    let parts = snapshot.memory.parts.iter();
    let parts: Map<String, Value> =
        parts.map(|part| (part.name.to_owned(), json!({ "used": part.used, "bound": part.bound }))).collect();
    let resident = snapshot.process.map(|usage| usage.resident_bytes);
    json!({ "limit": snapshot.memory.limit, "resident": resident, "parts": parts })
}

fn process(snapshot: &Snapshot<'_>) -> Value {
    snapshot.process.map_or(Value::Null, |usage| {
        json!({
            "cpu_seconds": usage.cpu.as_secs_f64(),
            "resident_bytes": usage.resident_bytes,
            "resident_bytes_max": usage.resident_bytes_max,
        })
    })
}

fn time(unix_nano: u64) -> Value {
    let time = Timestamp::from_nanosecond(i128::from(unix_nano)).ok().filter(|_| unix_nano > 0);
    time.map_or(Value::Null, |time| time.to_string().into())
}
