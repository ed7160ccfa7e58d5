//! The rules in force, and what came before them while traces under way need it.

use std::sync::Arc;

use parking_lot::RwLock;

use super::RuleSet;
use crate::sample::services::Services;

/// The rules in force, and older versions that traces under way are still decided by. Shared by all requests.
#[derive(Debug)]
pub struct Rulebook {
    debug: bool,
    versions: RwLock<Arc<Versions>>,
    services: Services,
}

/// Ascending by version, never empty; the last is in force.
pub(in crate::sample) type Versions = Vec<Arc<RuleSet>>;

impl Rulebook {
    /// A book that begins with these rules, as version 1. `debug` keeps everything, whatever they say.
    pub fn new(rules: RuleSet, debug: bool) -> Self {
        Self::begin(1, rules, debug)
    }

    /// The same, as another version: the numbers go on over restarts.
    pub fn begin(version: u32, rules: RuleSet, debug: bool) -> Self {
        let versions = Arc::new(vec![Arc::new(rules.in_force(version, debug))]);
        Self { debug, versions: RwLock::new(versions), services: Services::default() }
    }

    /// The names of services that spans are counted by.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Puts rules into force for traces whose first span comes from now on, and gives their version. Rules whose text
    /// is the same as that of those in force change nothing.
    pub fn install(&self, rules: RuleSet) -> u32 {
        let mut versions = self.versions.write();
        let current = current(&versions);
        if current.text() == rules.text() {
            return current.version();
        }
        let version = current.version() + 1;
        let mut next = Versions::clone(&versions);
        next.push(Arc::new(rules.in_force(version, self.debug)));
        *versions = Arc::new(next);
        version
    }

    /// Brings back rules from before a restart, that pending traces are still decided by. The ones in force stay in force:
    /// a version that is not older is passed over.
    pub fn restore(&self, version: u32, rules: RuleSet) {
        let mut versions = self.versions.write();
        let place = versions.partition_point(|known| known.version() < version);
        if versions.get(place).is_none_or(|known| known.version() == version) {
            return;
        }
        let mut next = Versions::clone(&versions);
        next.insert(place, Arc::new(rules.in_force(version, self.debug)));
        *versions = Arc::new(next);
    }

    /// The rules in force.
    pub fn current(&self) -> Arc<RuleSet> {
        current(&self.versions.read())
    }

    /// The rules of a version, while it is needed.
    pub fn version(&self, version: u32) -> Option<Arc<RuleSet>> {
        self.versions.read().iter().find(|known| known.version() == version).cloned()
    }

    /// Forgets versions older than `oldest_needed`; never the one in force.
    pub fn retire_before(&self, oldest_needed: u32) {
        let needless = |rules: &Arc<RuleSet>| rules.version() < oldest_needed;
        if self.versions.read().len() < 2 || !self.versions.read().first().is_some_and(needless) {
            return;
        }
        let mut versions = self.versions.write();
        let last = current(&versions).version();
        let next = versions.iter().filter(|known| !needless(known) || known.version() == last);
        *versions = Arc::new(next.cloned().collect());
    }

    /// All versions in use, ascending; the last is in force.
    pub(in crate::sample) fn in_use(&self) -> Arc<Versions> {
        Arc::clone(&self.versions.read())
    }
}

fn current(versions: &Versions) -> Arc<RuleSet> {
    Arc::clone(versions.last().expect("a rulebook begins with rules and only ever replaces them"))
}
