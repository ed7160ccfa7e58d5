//! What enrich has done since the start, in numbers; never with a value in them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pods::PodStats;

/// Where something was redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An attribute of a span,
    Span,
    /// of a resource,
    Resource,
    /// of an instrumentation scope,
    Scope,
    /// of an event,
    Event,
    /// of a link.
    Link,
    /// The name of a span or an event.
    Name,
    /// The message of a status.
    Message,
}

impl Place {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Span, Self::Resource, Self::Scope, Self::Event, Self::Link, Self::Name, Self::Message];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Event => "event",
            Self::Link => "link",
            Self::Name => "name",
            Self::Message => "message",
        }
    }
}

/// One redaction: by which rule, where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) rule: u16,
    pub(super) place: Place,
}

/// What was redacted by one rule in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// `key:` and the listed key, `url`, `sql`, or `value:` and the pattern's name.
    pub rule: String,
    /// Where.
    pub place: Place,
    /// How often: a rule counts once for a value.
    pub count: u64,
}

/// What enrich has done since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnrichStats {
    /// What was redacted, without what never was.
    pub redacted: Vec<Redacted>,
    /// Attributes that actions and detectors have added, changed or removed, by scope: span, resource, scope, event.
    pub changed: [u64; 4],
    /// Pods, where they are asked for.
    pub pods: Option<PodStats>,
}

/// Counts as many requests go on at once.
#[derive(Debug)]
pub(super) struct Counters {
    rules: Vec<String>,
    redacted: Vec<[AtomicU64; Place::ALL.len()]>,
    changed: [AtomicU64; 4],
}

impl Counters {
    pub(super) fn new(rules: Vec<String>) -> Self {
        let redacted = rules.iter().map(|_| Default::default()).collect();
        Self { rules, redacted, changed: Default::default() }
    }

    /// Adds what was done to one request.
    pub(super) fn add(&self, hits: &[Hit], changed: [u64; 4]) {
        for hit in hits {
            if let Some(places) = self.redacted.get(usize::from(hit.rule)) {
                places[hit.place as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        for (counter, changed) in self.changed.iter().zip(changed).filter(|(_, changed)| *changed > 0) {
            counter.fetch_add(changed, Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self) -> EnrichStats {
        let mut stats = EnrichStats {
            changed: self.changed.each_ref().map(|count| count.load(Ordering::Relaxed)),
            ..EnrichStats::default()
        };
        for (rule, counts) in self.rules.iter().zip(&self.redacted) {
            for (place, count) in Place::ALL.into_iter().zip(counts) {
                stats.add(rule, place, count.load(Ordering::Relaxed));
            }
        }
        stats
    }
}

impl EnrichStats {
    /// Adds to what a rule redacted. Two rules may have one name: `set-cookie` and `set_cookie` are the same.
    fn add(&mut self, rule: &str, place: Place, count: u64) {
        if count == 0 {
            return;
        }
        let known = self.redacted.iter_mut().find(|known| known.rule == rule && known.place == place);
        match known {
            Some(known) => known.count += count,
            None => self.redacted.push(Redacted { rule: rule.to_owned(), place, count }),
        }
    }
}
