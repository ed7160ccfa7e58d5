//! `/metrics`: OpenMetrics text. Counters count from the start of the process.
//!
//! Each scrape builds its registry from a [`Snapshot`]: the stages count for themselves and know nothing of metrics.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::fleet::FleetStats;
use super::forward::{ForwardStats, LaneStats};
use super::losses::{Dropped, Outcomes};
use super::snapshot::{MemoryPart, RuleTally, Snapshot, VERSION};
use crate::receive::{Reason, Transport};
use crate::runtime::follow::StandingNow;

/// The metrics as OpenMetrics 1.0 text, with the end marker.
/// `application/openmetrics-text; version=1.0.0; charset=utf-8` is its media type.
pub fn render(snapshot: &Snapshot<'_>) -> String {
    let mut families = Families(Registry::default());
    families.daemon(snapshot);
    families.receive(snapshot);
    families.trust(snapshot);
    super::enrich::register(&mut families.0, snapshot.enrich);
    families.log(snapshot);
    match snapshot.forward {
        Some(stats) => families.forward(stats),
        None => {
            families.sample(snapshot);
            families.decisions(snapshot);
            families.rules(snapshot);
            families.losses(snapshot);
            families.store(snapshot);
            families.compaction(snapshot);
            families.fleet(snapshot.fleet);
            super::export::register(&mut families.0, snapshot.export);
        }
    }
    families.memory(snapshot);
    families.process(snapshot);
    let mut text = String::new();
    encode(&mut text, &families.0).expect("a String takes whatever is written to it");
    text
}

struct Families(Registry);

impl Families {
    /// A counter; `_total` is added to its name.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    /// A counter of bytes; `_bytes_total` is added to its name.
    fn counter_bytes(&mut self, name: &str, help: &str, value: u64) {
        self.0.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(value));
    }

    /// A counter by label; `_total` is added to its name.
    fn counter_by(&mut self, name: &str, help: &str, series: CounterBy) {
        self.0.register(name, help, series);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    /// A gauge of bytes; `_bytes` is added to its name.
    fn gauge_bytes(&mut self, name: &str, help: &str, value: u64) {
        self.0.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value));
    }

    /// A gauge of seconds; `_seconds` is added to its name.
    fn gauge_seconds(&mut self, name: &str, help: &str, value: f64) {
        self.0.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(value));
    }

    fn daemon(&mut self, snapshot: &Snapshot<'_>) {
        self.0.register("tracewell_build", "The build", Info::new([("version", VERSION)]));
        let uptime = snapshot.uptime.as_secs_f64();
        self.gauge_seconds("tracewell_uptime", "Time since the start", uptime);
        let ready = u64::from(snapshot.ready.is_ok());
        self.gauge("tracewell_ready", "Whether requests are taken and answered (1) or not (0)", ready);
    }

    fn receive(&mut self, snapshot: &Snapshot<'_>) {
        let stats = snapshot.receive;
        let requests = Transport::ALL.map(|transport| (transport.name(), stats.requests(transport)));
        let help = "Export requests that came in, however they ended";
        self.counter_by("tracewell_receive_requests", help, CounterBy::new("transport", requests));
        let refused = Reason::ALL.map(|reason| (reason.name(), stats.refused(reason)));
        let help = "Export requests refused as a whole";
        self.counter_by("tracewell_receive_refused", help, CounterBy::new("reason", refused));
        let help = "Export requests refused because their tenant was over its rate";
        let over_rate = super::receive::OverRate(stats.over_rate(snapshot.asker));
        self.0.register("tracewell_receive_over_rate", help, over_rate);
        let help = "Spans refused by partial success";
        self.counter("tracewell_receive_rejected_spans", help, stats.rejected_spans());
        let help = "Request bodies as they came over the wire";
        self.counter_bytes("tracewell_receive_wire", help, stats.wire_bytes());
        let help = "Request bodies as decompressed protobuf";
        self.counter_bytes("tracewell_receive_body", help, stats.body_bytes());
        let help = "JSON keys ignored that look like the snake_case spelling of a field";
        self.counter("tracewell_receive_json_snake_case_keys", help, stats.json_snake_case_keys());
        self.counter("tracewell_receive_connections", "Connections taken", stats.connections());
        self.gauge("tracewell_receive_open_connections", "Connections open now", stats.connections_open());
        let used = snapshot.memory.used_by("admission");
        self.gauge_bytes("tracewell_receive_budget_used", "What requests in flight occupy", used);
    }

    fn trust(&mut self, snapshot: &Snapshot<'_>) {
        let trust = snapshot.trust;
        self.counter("tracewell_auth_admitted", "Requests let in by the gate", trust.admitted);
        let denied = CounterBy::new("reason", trust.denied.iter().copied());
        self.counter_by("tracewell_auth_denied", "Requests not let in by the gate", denied);
        let hands = trust.handshakes;
        let outcomes = [("done", hands.done), ("failed", hands.failed), ("plain_text", hands.plain_text)];
        let help = "Handshakes of TLS by how they ended";
        self.counter_by("tracewell_tls_handshakes", help, CounterBy::new("outcome", outcomes));
        let of =
            |value: fn(&StandingNow) -> u64| trust.standings.iter().map(move |one| (one.what, value(one)));
        let valid = GaugeBy::new("what", of(|one| u64::from(one.error.is_none())));
        let help = "Whether what these files hold is in force (1) or was refused (0)";
        self.0.register("tracewell_trust_files_valid", help, valid);
        let refused = CounterBy::new("what", of(|one| one.refused));
        self.counter_by("tracewell_trust_files_refused", "How often such files were refused", refused);
        let help = "When the first certificate of a listener expires, Unix time; 0 without any";
        let expires = trust.certificate_expires_at() as f64;
        self.gauge_seconds("tracewell_tls_certificate_expiry_timestamp", help, expires);
        let help =
            "When the first revocation list is to be followed by a newer one, Unix time; 0 without any";
        let next = trust.crl_next_update() as f64;
        self.gauge_seconds("tracewell_tls_crl_next_update_timestamp", help, next);
    }

    fn log(&mut self, snapshot: &Snapshot<'_>) {
        let stats = snapshot.log;
        self.gauge_bytes("tracewell_log", "What the log's segments take on disk", stats.bytes);
        self.gauge("tracewell_log_segments", "Segments of the log", stats.segments);
        self.counter("tracewell_log_records", "Records written and synced", stats.records);
        self.counter("tracewell_log_replayed_records", "Records read again at the start", stats.replayed);
        let help = "Records refused after they had waited in the queue";
        self.counter("tracewell_log_refused_records", help, stats.refused);
        let help = "Damaged places found at the start, at least one record each";
        self.counter("tracewell_log_damaged_records", help, stats.damaged);
        self.counter_bytes("tracewell_log_damaged", "What lies in the damaged places", stats.damaged_bytes);
        let help = "What was cut off the end at the start because its write was never finished";
        self.counter_bytes("tracewell_log_torn", help, stats.torn_bytes);
        let help = "Segments given up because they could not be written or synced";
        self.counter("tracewell_log_abandoned_segments", help, stats.abandoned);
        self.counter("tracewell_log_fsyncs", "Syncs that succeeded", stats.fsyncs);
        let seconds = ConstCounter::new(stats.fsync_time.as_secs_f64());
        let help = "The time successful syncs took altogether";
        self.0.register_with_unit("tracewell_log_fsync", help, Unit::Seconds, seconds);
        self.gauge_bytes("tracewell_log_queue", "What waits for the disk", stats.queue_bytes);
        self.gauge_bytes("tracewell_log_cache", "Decompressed records kept for readers", stats.cache_bytes);
        let recorder = stats.recorder;
        let help = "Segments in which the flight recorder finds every trace by its index file";
        self.gauge("tracewell_recorder_indexed_segments", help, recorder.written);
        let help = "Segments that are not indexed: their dropped traces are not found";
        self.gauge("tracewell_recorder_missing_segments", help, recorder.missing);
        let help = "Index files made again from their segments";
        self.counter("tracewell_recorder_rebuilt_segments", help, recorder.rebuilt);
        let help = "Memory of the flight recorder's index";
        self.gauge_bytes("tracewell_recorder_index", help, recorder.memory_bytes);
        let refusing = u64::from(stats.refusing.is_some());
        let help = "Whether spans are being refused because of the log's disk or limit (1) or not (0)";
        self.gauge("tracewell_log_refusing", help, refusing);
    }

    fn sample(&mut self, snapshot: &Snapshot<'_>) {
        let stats = snapshot.sampler;
        let help =
            "Records of the log that sampling has taken in: fewer than were written while it lags behind";
        self.counter("tracewell_sample_applied_records", help, stats.records_applied);
        self.counter("tracewell_sample_spans_received", "Spans that came in", stats.spans_received);
        self.by_rule(&snapshot.by_rule());
        let help = "Spans of kept traces that came after the verdict";
        self.counter("tracewell_sample_late_spans_kept", help, stats.late_spans_kept);
        let help = "Spans of dropped traces that came after the verdict";
        self.counter("tracewell_sample_late_spans_dropped", help, stats.late_spans_dropped);
        let help = "Dropped traces that were found again in the log and kept after all";
        self.counter("tracewell_sample_rescued_traces", help, stats.rescued.traces);
        self.counter("tracewell_sample_rescued_spans", "Spans of rescued traces", stats.rescued.spans);
        let help = "Dropped traces that were to be kept after all, and were not found any more";
        self.counter("tracewell_sample_rescues_missed", help, stats.rescues_missed);
        let help = "Traces decided before they were due, because the index was full";
        self.counter("tracewell_sample_decided_early", help, stats.decided_early);
        let adjusted = ConstCounter::new(stats.adjusted_count_spans);
        let help = "An estimate of the spans received, from the adjusted counts of those kept";
        self.0.register("tracewell_sample_adjusted_count_spans", help, adjusted);
        let help = "Traces that wait for their verdict";
        self.gauge("tracewell_sample_pending_traces", help, stats.pending_traces);
        let help = "Traces kept and not stored yet";
        self.gauge("tracewell_sample_kept_traces_not_stored", help, stats.kept_traces_not_stored);
        let help = "Memory of the index and the kept traces";
        self.gauge_bytes("tracewell_sample_index", help, stats.index_bytes);
        self.gauge("tracewell_sample_decisions", "Verdicts remembered for late spans", stats.decisions);
        let help = "Memory of the verdicts remembered";
        self.gauge_bytes("tracewell_sample_decisions", help, stats.decisions_bytes);
    }

    fn by_rule(&mut self, tallies: &[RuleTally<'_>]) {
        type Count = fn(&RuleTally<'_>) -> u64;
        let families: [(&str, &str, Count); 4] = [
            ("tracewell_sample_kept_traces", "Traces kept", |tally| tally.kept.traces),
            ("tracewell_sample_kept_spans", "Spans of traces kept, without late ones", |tally| {
                tally.kept.spans
            }),
            ("tracewell_sample_dropped_traces", "Traces dropped", |tally| tally.dropped.traces),
            ("tracewell_sample_dropped_spans", "Spans of traces dropped, without late ones", |tally| {
                tally.dropped.spans
            }),
        ];
        for (name, help, count) in families {
            let counts = tallies.iter().map(|tally| (&*tally.rule, count(tally)));
            self.counter_by(name, help, CounterBy::new("rule", counts));
        }
    }

    fn decisions(&mut self, snapshot: &Snapshot<'_>) {
        let stats = snapshot.ledger;
        self.gauge("tracewell_decisions", "Decisions in the ledger", stats.entries);
        self.gauge_bytes("tracewell_decisions", "What the ledger takes on disk", stats.bytes);
        self.gauge("tracewell_decisions_files", "Files of the ledger", stats.files);
        let oldest = unix_seconds(stats.oldest_unix_nano);
        let help = "The oldest decision in the ledger, Unix time; 0 where there is none";
        self.gauge_seconds("tracewell_decisions_oldest_timestamp", help, oldest);
        self.gauge("tracewell_decisions_waiting", "Decisions that wait to be written", stats.waiting);
        let help = "Files, blocks and pages of the ledger found that could not be used";
        self.counter("tracewell_decisions_damaged", help, stats.damaged);
        let help = "Decisions that were never written to the ledger, because that failed for too long";
        self.counter("tracewell_decisions_lost", help, stats.lost);
        let help = "Writes of the ledger that failed";
        self.counter("tracewell_decisions_failed_writes", help, stats.failures);
    }

    fn rules(&mut self, snapshot: &Snapshot<'_>) {
        let rules = snapshot.rules;
        let valid = u64::from(rules.error.is_none());
        let help = "Whether the rules' source is good (1), or refused while older rules stay in force (0)";
        self.gauge("tracewell_rules_valid", help, valid);
        self.gauge("tracewell_rules_version", "The version in force", u64::from(rules.version));
        let loaded = unix_seconds(rules.loaded_at_unix_nano);
        let help = "When the version in force was loaded, Unix time";
        self.gauge_seconds("tracewell_rules_loaded_timestamp", help, loaded);
    }

    fn losses(&mut self, snapshot: &Snapshot<'_>) {
        let ledger = snapshot.losses;
        let help = "What became of the spans received, restarts included";
        self.0.register("tracewell_spans", help, Outcomes(ledger.accounts.clone()));
        let help = "Spans dropped, restarts included";
        self.0.register("tracewell_dropped_spans", help, Dropped(ledger.accounts.clone()));
        let expired = ledger.expired.iter().map(|(tenant, spans)| (tenant.as_str(), *spans));
        let help = "Stored spans that retention took out of the table again, restarts included";
        self.counter_by("tracewell_expired_spans", help, CounterBy::new("tenant", expired));
    }

    fn store(&mut self, snapshot: &Snapshot<'_>) {
        let stats = snapshot.store;
        self.counter("tracewell_store_batches", "Batches committed to the table", stats.batches);
        self.counter("tracewell_store_spans", "Spans committed", stats.spans);
        self.counter("tracewell_store_traces", "Traces committed", stats.traces);
        self.counter("tracewell_store_files", "Parquet files committed", stats.files);
        self.counter_bytes("tracewell_store", "The size of the files committed", stats.bytes);
        let help = "Spans left out because the same one was there already";
        self.counter("tracewell_store_duplicate_spans", help, stats.duplicate_spans);
        self.counter("tracewell_store_retries", "Writes that failed and are tried again", stats.retries);
        let help = "Records of the log that could not be read back";
        self.counter("tracewell_store_unreadable_records", help, stats.unreadable_records);
        let committed = unix_seconds(stats.last_commit_unix_nano);
        let help = "When the last batch was committed, Unix time; 0 before the first";
        self.gauge_seconds("tracewell_store_last_commit_timestamp", help, committed);
    }

    fn compaction(&mut self, snapshot: &Snapshot<'_>) {
        let (stats, done) = (snapshot.store.compaction, snapshot.store.compaction.done);
        self.counter("tracewell_compaction_units", "Groups of table files that became others", done.units);
        let help = "Groups given up because another writer took one of their files first";
        self.counter("tracewell_compaction_given_up", help, done.given_up);
        self.counter("tracewell_compaction_failures", "Rounds that failed", stats.failures);
        let files = [("in", done.files_in), ("out", done.files_out)];
        let help = "Table files taken out, and put in their place";
        self.counter_by("tracewell_compaction_files", help, CounterBy::new("direction", files));
        let bytes = CounterBy::new("direction", [("in", done.bytes_in), ("out", done.bytes_out)]);
        self.0.register_with_unit("tracewell_compaction", "The size of those files", Unit::Bytes, bytes);
        self.counter("tracewell_compaction_rows", "Rows read", done.rows_in);
        let help = "Rows that became part of others: spans stored twice, rows of one trace";
        self.counter("tracewell_compaction_joined_rows", help, done.joined);
        let cpu = ConstCounter::new(stats.cpu.as_secs_f64());
        self.0.register_with_unit("tracewell_compaction_cpu", "Its time on a CPU", Unit::Seconds, cpu);
    }

    fn forward(&mut self, stats: &ForwardStats) {
        let spans = [
            ("received", stats.received),
            ("resumed", stats.resumed),
            ("forwarded", stats.forwarded),
            ("refused", stats.refused),
            ("sampled_out", stats.sampled_out),
        ];
        let help = "What became of the spans since the start; received + resumed - forwarded - refused are on their way";
        self.counter_by("tracewell_forward_spans", help, CounterBy::new("outcome", spans));
        let by_lane = |value: fn(&LaneStats) -> u64| {
            CounterBy::new("gateway", stats.lanes.iter().map(|lane| (lane.name.as_str(), value(lane))))
        };
        let sent = by_lane(|lane| lane.sent_spans);
        self.counter_by("tracewell_forward_sent_spans", "Spans acknowledged", sent);
        let sent = by_lane(|lane| lane.sent_requests);
        self.counter_by("tracewell_forward_sent_requests", "Requests acknowledged", sent);
        let retries = by_lane(|lane| lane.retries);
        self.counter_by("tracewell_forward_retries", "Tries that are repeated", retries);
        let refused = by_lane(|lane| lane.refused_spans);
        self.counter_by("tracewell_forward_refused_spans", "Spans that will never be taken", refused);
        let unreadable = by_lane(|lane| lane.unreadable_records);
        let help = "Records of the log that could not be read back";
        self.counter_by("tracewell_forward_unreadable_records", help, unreadable);
        let gauge = |value| GaugeBy(by_lane(value));
        let (queue, behind) = (gauge(|lane| lane.queue_bytes), gauge(|lane| lane.behind_bytes));
        let help = "What waits or is under way, in memory";
        self.0.register_with_unit("tracewell_forward_queue", help, Unit::Bytes, queue);
        let help = "How much of the log is not settled";
        self.0.register_with_unit("tracewell_forward_behind", help, Unit::Bytes, behind);
        let age = gauge(|lane| lane.behind_ms / 1000);
        let help = "How long ago the oldest span that is not settled came in";
        self.0.register_with_unit("tracewell_forward_behind", help, Unit::Seconds, age);
        let trouble = gauge(|lane| lane.trouble.is_some().into());
        self.0.register(
            "tracewell_forward_failing",
            "Whether it takes nothing at the moment (1) or not (0)",
            trouble,
        );
    }

    fn fleet(&mut self, stats: Option<&FleetStats>) {
        let Some(stats) = stats else { return };
        let help = "Whether this gateway is leaving (1) or not (0)";
        self.gauge("tracewell_fleet_draining", help, stats.draining.into());
        let help = "Whether the members have not changed for a while (1), or owners still ask each other (0)";
        self.gauge("tracewell_fleet_settled", help, stats.settled.into());
        self.gauge("tracewell_fleet_gateways", "The members", stats.gateways.len() as u64);
        let help = "Traces that another gateway was asked about";
        self.counter("tracewell_fleet_claimed_traces", help, stats.claimed_traces);
        let help = "Spans handed over to the gateway that has their trace";
        self.counter("tracewell_fleet_handed_over_spans", help, stats.handed_over_spans);
        let help = "Requests put off because another gateway did not answer";
        self.counter("tracewell_fleet_put_off_requests", help, stats.put_off_requests);
    }

    fn memory(&mut self, snapshot: &Snapshot<'_>) {
        let memory = snapshot.memory;
        let by_part = |value: fn(&MemoryPart) -> u64| {
            GaugeBy::new("part", memory.parts.iter().map(|part| (part.name, value(part))))
        };
        let used = by_part(|part| part.used);
        self.0.register_with_unit("tracewell_memory", "What each part takes", Unit::Bytes, used);
        let bounds = by_part(|part| part.bound);
        self.0.register_with_unit("tracewell_memory_bound", "What each part may take", Unit::Bytes, bounds);
        self.gauge_bytes("tracewell_memory_limit", "What all parts together may take", memory.limit);
    }

    /// Under the names that every Prometheus client uses for them.
    fn process(&mut self, snapshot: &Snapshot<'_>) {
        let Some(usage) = snapshot.process else { return };
        let cpu = ConstCounter::new(usage.cpu.as_secs_f64());
        self.0.register_with_unit("process_cpu", "Time on a CPU, user and system", Unit::Seconds, cpu);
        self.gauge_bytes("process_resident_memory", "Resident memory", usage.resident_bytes);
        let help = "The most resident memory so far";
        self.gauge_bytes("process_resident_memory_max", help, usage.resident_bytes_max);
    }
}

fn unix_seconds(unix_nano: u64) -> f64 {
    unix_nano as f64 / 1e9
}

/// Counters that differ in one label.
#[derive(Debug)]
pub(super) struct CounterBy {
    label: &'static str,
    counts: Vec<(String, u64)>,
}

impl CounterBy {
    pub(super) fn new<'a>(label: &'static str, counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        Self { label, counts: counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect() }
    }
}

impl EncodeMetric for CounterBy {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(value, count)| {
            let labels = [(self.label, value.as_str())];
            ConstCounter::new(*count).encode(encoder.encode_family(&labels)?)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Gauges that differ in one label.
#[derive(Debug)]
pub(super) struct GaugeBy(pub(super) CounterBy);

impl GaugeBy {
    fn new<'a>(label: &'static str, values: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        Self(CounterBy::new(label, values))
    }
}

impl EncodeMetric for GaugeBy {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.counts.iter().try_for_each(|(value, gauge)| {
            let labels = [(self.0.label, value.as_str())];
            ConstGauge::new(*gauge).encode(encoder.encode_family(&labels)?)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
