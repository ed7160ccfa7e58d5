//! What metrics and status are made from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::export::ExportStats;
use super::fleet::FleetStats;
use super::forward::ForwardStats;
use super::losses::LossLedger;
use super::trust::TrustNow;
use crate::enrich::EnrichStats;
use crate::ledger::LedgerStats;
use crate::log::LogStats;
use crate::receive::ReceiveStats;
use crate::rules_source::RulesStatus;
use crate::runtime::Tenant;
use crate::runtime::process::ProcessUsage;
use crate::sample::{SamplerStats, Tally};
use crate::store::Compacted;

/// The rules told apart; what further ones did is counted together.
pub(super) const RULES_MAX: usize = 200;

/// The name of those further ones.
pub(super) const OTHER_RULES: &str = "other";

/// The version of this build.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All stages at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Since the start.
    pub uptime: Duration,
    /// Whether requests are taken and answered; if not, why.
    pub ready: Result<(), String>,
    /// Who asks, where it may see no other tenant.
    pub asker: Option<&'a Tenant>,
    /// What the receivers counted.
    pub receive: &'a ReceiveStats,
    /// What enrich did.
    pub enrich: &'a EnrichStats,
    /// Who takes how much memory.
    pub memory: &'a MemoryUse,
    /// The log in numbers.
    pub log: &'a LogStats,
    /// The sampler in numbers.
    pub sampler: &'a SamplerStats,
    /// The ledger of decisions in numbers.
    pub ledger: &'a LedgerStats,
    /// The rules in force.
    pub rules: &'a RulesStatus,
    /// What became of every span.
    pub losses: &'a LossLedger,
    /// Who was let in.
    pub trust: &'a TrustNow,
    /// What was stored.
    pub store: &'a StoreStats,
    /// What the process uses, where the system says.
    pub process: Option<ProcessUsage>,
    /// On an agent, what it forwards: then there is no sampler, no ledger, no rules and no store to tell of.
    pub forward: Option<&'a ForwardStats>,
    /// On a gateway among others, its part in the fleet.
    pub fleet: Option<&'a FleetStats>,
    /// The backends that kept spans go on to.
    pub export: &'a [ExportStats],
}

/// The memory that is accounted for, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// What all parts together may take, in bytes.
    pub limit: u64,
    /// The parts.
    pub parts: Vec<MemoryPart>,
}

/// What one part of the daemon takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPart {
    /// Its name, for people and metrics.
    pub name: &'static str,
    /// What it takes now, in bytes.
    pub used: u64,
    /// What it may take, in bytes.
    pub bound: u64,
}

impl MemoryUse {
    /// What the part with this name takes, in bytes; 0 if there is none.
    pub(super) fn used_by(&self, name: &str) -> u64 {
        self.parts.iter().find(|part| part.name == name).map_or(0, |part| part.used)
    }
}

/// What was written to the table since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Batches committed.
    pub batches: u64,
    /// Spans in them: rows of the spans table.
    pub spans: u64,
    /// Traces in them: rows of the traces table.
    pub traces: u64,
    /// Parquet files they became.
    pub files: u64,
    /// The size of those files, in bytes.
    pub bytes: u64,
    /// Spans left out because the same one was there already.
    pub duplicate_spans: u64,
    /// Writes that failed and were, or will be, tried again.
    pub retries: u64,
    /// Records of the log that could not be read back.
    pub unreadable_records: u64,
    /// When the last batch was committed, nanoseconds since the Unix epoch; 0 before the first.
    pub last_commit_unix_nano: u64,
    /// Compaction.
    pub compaction: CompactionStats,
}

/// What compaction did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// What it did to the tables.
    pub done: Compacted,
    /// Rounds that failed and are tried again.
    pub failures: u64,
    /// Its time on a CPU.
    pub cpu: Duration,
}

/// What one rule did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleTally<'a> {
    pub(super) rule: Cow<'a, str>,
    pub(super) kept: Tally,
    pub(super) dropped: Tally,
}

impl Snapshot<'_> {
    /// What each rule did, by name. The first [`RULES_MAX`], so that a rule keeps its place as others come and go.
    pub(super) fn by_rule(&self) -> Vec<RuleTally<'_>> {
        let mut tallies: BTreeMap<&str, (Tally, Tally)> = BTreeMap::new();
        for (rule, tally) in &self.sampler.kept_by_rule {
            tallies.entry(rule).or_default().0 = *tally;
        }
        for (rule, tally) in &self.sampler.dropped_by_rule {
            tallies.entry(rule).or_default().1 = *tally;
        }
        let all = tallies.into_iter();
        let mut rows: Vec<_> =
            all.map(|(rule, (kept, dropped))| RuleTally { rule: rule.into(), kept, dropped }).collect();
        if rows.len() > RULES_MAX {
            fold_into_other(&mut rows);
        }
        rows
    }
}

fn fold_into_other(rows: &mut Vec<RuleTally<'_>>) {
    let folded = rows.split_off(RULES_MAX);
    // A rule may have that name itself; a name must not come twice.
    let other = match rows.iter().position(|row| row.rule == OTHER_RULES) {
        Some(index) => &mut rows[index],
        None => rows.push_mut(RuleTally { rule: OTHER_RULES.into(), ..RuleTally::default() }),
    };
    for row in folded {
        add(&mut other.kept, row.kept);
        add(&mut other.dropped, row.dropped);
    }
}

fn add(sum: &mut Tally, tally: Tally) {
    sum.traces += tally.traces;
    sum.spans += tally.spans;
}
