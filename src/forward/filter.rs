//! A TraceQL condition over whole traces, as rules have them: the same language, compiled and asked the same way, so that a
//! trace of any size takes a few words of memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::fleet::recent::Recent;
use super::kept::Going;
use crate::log::Position;
use crate::sample::{Facts, Fingerprint, KeptTrace, Limiter, Matches, RuleSet, Rulebook, parse_rules};
use crate::wire::{TraceId, WireError};

/// The rule that what matches is kept by.
const RULE: &str = "filter";

/// What a trace that matched takes, in bytes.
const TRACE_BYTES: usize = 36;

/// A compiled filter, and the traces that matched it lately: what comes late of them goes with them.
pub struct Filter {
    rulebook: Rulebook,
    matched: Mutex<Recent<()>>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("rules", &self.rulebook.current().text()).finish()
    }
}

impl Filter {
    /// Compiles a filter: TraceQL, what the `when` of a rule may be. It remembers what matched in about `memory_bytes`, 36 bytes
    /// a trace.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(query: &str, memory_bytes: usize) -> Result<Self, String> {
        let rules =
            serde_json::json!({ "version": 1, "rules": [{ "name": RULE, "when": query, "keep": "100%" }] });
        // JSON is YAML; the place of a mistake in it means nothing to anybody.
        let rules = parse_rules(&rules.to_string())
            .map_err(|error| error.message.strip_prefix("`when`: ").unwrap_or(&error.message).to_owned())?;
        let matched = Mutex::new(Recent::new(memory_bytes));
        Ok(Self { rulebook: Rulebook::new(rules, false), matched })
    }

    /// What it remembers now, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.matched.lock().len() * TRACE_BYTES
    }

    /// Begins to look at a batch's traces of one tenant.
    pub fn look(&self) -> Look<'_> {
        // What it matches is kept: nothing is counted.
        let limiter = Limiter::new(0);
        Look { filter: self, rules: self.rulebook.current(), limiter, seen: HashMap::default() }
    }
}

/// What was seen of each trace so far.
pub struct Look<'f> {
    filter: &'f Filter,
    rules: Arc<RuleSet>,
    limiter: Limiter,
    seen: HashMap<TraceId, Seen, foldhash::fast::RandomState>,
}

struct Seen {
    matches: Matches,
    start_unix_nano: u64,
    end_unix_nano: u64,
}

impl Look<'_> {
    /// Takes note of the request that is recorded at this position.
    ///
    /// # Errors
    /// If the body is not a request.
    pub fn add(&mut self, going: &Going<'_>, position: Position, body: &[u8]) -> Result<(), WireError> {
        for note in self.filter.rulebook.scan(body)?.traces {
            let Some(matches) = note.matches.last() else { continue };
            if going.trace(&note.trace_id, position).is_none() {
                continue;
            }
            let (start_unix_nano, end_unix_nano) = (note.start_unix_nano, note.end_unix_nano);
            match self.seen.get_mut(&note.trace_id) {
                Some(seen) => {
                    seen.matches.merge(matches);
                    seen.start_unix_nano = seen.start_unix_nano.min(start_unix_nano);
                    seen.end_unix_nano = seen.end_unix_nano.max(end_unix_nano);
                }
                None => {
                    let seen = Seen { matches: matches.clone(), start_unix_nano, end_unix_nano };
                    self.seen.insert(note.trace_id, seen);
                }
            }
        }
        Ok(())
    }

    /// Leaves the traces that match, and those of which an earlier part did.
    pub fn decide(mut self, going: &mut Going<'_>) {
        let filter = self.filter;
        let mut matched = filter.matched.lock();
        going.retain(|trace| {
            let fingerprint = Fingerprint::of(&trace.tenant, &trace.trace_id).0;
            if self.matches(trace) {
                matched.insert(fingerprint, ());
                return true;
            }
            matched.peek(fingerprint).is_some()
        });
    }

    fn matches(&mut self, trace: &KeptTrace) -> bool {
        let Some(seen) = self.seen.get(&trace.trace_id) else { return false };
        let facts = Facts {
            trace_id: trace.trace_id,
            randomness: None,
            duration_nano: seen.end_unix_nano.saturating_sub(seen.start_unix_nano),
            has_root: false,
            spans: trace.spans,
            matches: Some(&seen.matches),
        };
        &*self.rules.decide(&facts, &mut self.limiter, Duration::ZERO).rule == RULE
    }
}

#[cfg(test)]
mod tests;
