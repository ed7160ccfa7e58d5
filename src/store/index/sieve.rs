//! Which row groups a scan for attributes, or for some traces, need not read.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::Index;
use super::cover::{Coverage, Used};
use super::filter::Needle;
use crate::runtime::Tenant;

/// Of each file of a run whether each of its row groups may match.
type Answer = Vec<Vec<bool>>;

/// What rows must be.
#[derive(Default)]
pub(in crate::store) struct Sought {
    /// Have all of these attributes.
    pub(in crate::store) needles: Vec<Needle>,
    /// Of one of the traces of these fingerprints.
    pub(in crate::store) traces: Option<Vec<u64>>,
}

/// What the index knows of one scan: asks each run once, when the first of its files comes up.
pub(in crate::store) struct Sieve {
    index: Index,
    tenant: Tenant,
    coverage: Arc<Coverage>,
    sought: Sought,
    answers: Mutex<HashMap<String, Arc<OnceCell<Answer>>>>,
}

impl Sieve {
    /// A sieve of the files of a version.
    pub(in crate::store) fn new(
        index: Index,
        tenant: Tenant,
        coverage: Arc<Coverage>,
        sought: Sought,
    ) -> Self {
        Self { index, tenant, coverage, sought, answers: Mutex::default() }
    }

    /// Whether each row group of a file (its path as in the Delta log) may hold rows that match; `None` where no run tells.
    /// For each needle one request for each size of filter in the run, and for each trace one, if the run is not in the cache.
    pub(in crate::store) async fn may_match(&self, path: &str) -> Option<Vec<bool>> {
        let (used, number) = self.coverage.run_of(path)?;
        let answer = Arc::clone(self.answers.lock().entry(used.run.name.clone()).or_default());
        let answer = answer.get_or_init(|| self.ask(used)).await;
        answer.get(usize::from(number)).cloned()
    }

    async fn ask(&self, used: &Used) -> Answer {
        let of_tenant = self.index.tenant(&self.tenant);
        let files = &used.run.directory.files;
        let mut may_match: Answer = files.iter().map(|file| vec![true; file.groups.len()]).collect();
        if let Some(traces) = &self.sought.traces {
            may_match = self.ask_for_traces(used, traces, may_match).await;
        }
        for needle in &self.sought.needles {
            match of_tenant.shelf.without(&used.run, needle).await {
                Ok(without) => {
                    for (file, group) in without {
                        may_match[usize::from(file)][usize::from(group)] = false;
                    }
                }
                Err(trouble) => of_tenant.report(&used.run, &trouble).await,
            }
        }
        may_match
    }

    /// Of a run's row groups (of which `all` may match) those that hold one of these traces.
    async fn ask_for_traces(&self, used: &Used, traces: &[u64], all: Answer) -> Answer {
        let of_tenant = self.index.tenant(&self.tenant);
        let mut holds: Answer = all.iter().map(|groups| vec![false; groups.len()]).collect();
        for fingerprint in traces {
            match of_tenant.shelf.find(&used.run, *fingerprint).await {
                Ok(entries) => {
                    for entry in entries {
                        let groups = holds.get_mut(usize::from(entry.file()));
                        if let Some(may) = groups.and_then(|g| g.get_mut(usize::from(entry.group()))) {
                            *may = true;
                        }
                    }
                }
                Err(trouble) => {
                    of_tenant.report(&used.run, &trouble).await;
                    return all;
                }
            }
        }
        holds
    }
}
