//! Which run answers for which live file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::format::{Directory, is_name};
use super::run::{Run, Shelf, Trouble};
use super::{Index, TenantIndex};
use crate::runtime::Tenant;
use crate::store::error::StoreError;
use crate::store::table::{DataFile, Listing};

/// Runs that are opened, or asked, at the same time.
const RUNS_AT_ONCE: usize = 16;

/// What is known of one tenant's runs.
#[derive(Default)]
pub(super) struct State {
    runs: BTreeMap<String, Arc<Run>>,
    /// Runs on the store that tell nothing: damaged, or of files that are not live or have another run.
    useless: HashSet<String>,
    /// The runs in the cache were looked at.
    cache_seen: bool,
    /// The version of the table at which the folder was last listed.
    listed: Option<u64>,
    coverage: Option<Arc<Coverage>>,
    /// Runs were left out for want of memory.
    is_full: bool,
}

impl State {
    /// Another run is known, whose files may be live from now on.
    pub(super) fn add(&mut self, run: Arc<Run>) {
        self.useless.remove(&run.name);
        self.runs.insert(run.name.clone(), run);
        self.coverage = None;
    }

    /// A run is not used any more.
    pub(super) fn drop_run(&mut self, name: &str) {
        self.runs.remove(name);
        self.coverage = None;
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.runs.values().map(|run| &run.directory)
    }

    fn forget_useless(&mut self, coverage: &Coverage) {
        let used: HashSet<&str> = coverage.runs.iter().map(|used| used.run.name.as_str()).collect();
        // One without any live file is perhaps of a commit under way.
        let is_useless = |run: &Run| !used.contains(run.name.as_str()) && coverage.is_live(run);
        let useless: Vec<_> = self.runs.values().filter(|r| is_useless(r)).map(|r| r.name.clone()).collect();
        for name in useless {
            self.runs.remove(&name);
            self.useless.insert(name);
        }
    }
}

/// The live files at a version, and the runs that cover them.
pub(in crate::store) struct Coverage {
    version: u64,
    pub(in crate::store) files: Arc<Vec<DataFile>>,
    pub(super) runs: Vec<Used>,
    /// Files that no run covers, by their index.
    pub(in crate::store) uncovered: Vec<u32>,
    by_path: HashMap<String, u32>,
    /// Of each file which of `runs` answers for it, and as which of its files.
    of_file: Vec<Option<(u32, u16)>>,
}

/// A run, and the live file of each of its files that it answers for.
pub(super) struct Used {
    pub(super) run: Arc<Run>,
    pub(super) live: Vec<Option<u32>>,
}

impl Coverage {
    fn new(runs: &BTreeMap<String, Arc<Run>>, listing: &Listing) -> Self {
        let files = Arc::clone(&listing.files);
        let by_path = files.iter().enumerate().map(|(at, file)| (file.in_log.clone(), at as u32)).collect();
        let of_file = vec![None; files.len()];
        let (version, runs_used, uncovered) = (listing.version, Vec::new(), Vec::new());
        let mut coverage = Self { version, files, runs: runs_used, uncovered, by_path, of_file };
        // The larger ones first, so that few are asked.
        let mut ordered: Vec<&Arc<Run>> = runs.values().collect();
        ordered.sort_by_key(|run| (std::cmp::Reverse(run.directory.files.len()), run.name.as_str()));
        for run in ordered {
            let mut live = coverage.live(run);
            for (number, at) in live.iter_mut().enumerate() {
                let free = at.filter(|at| coverage.of_file[*at as usize].is_none());
                if let Some(free) = free {
                    coverage.of_file[free as usize] = Some((coverage.runs.len() as u32, number as u16));
                }
                *at = free;
            }
            if live.iter().any(Option::is_some) {
                coverage.runs.push(Used { run: Arc::clone(run), live });
            }
        }
        let uncovered = coverage.of_file.iter().enumerate().filter(|(_, run)| run.is_none());
        coverage.uncovered = uncovered.map(|(at, _)| at as u32).collect();
        coverage
    }

    /// Of each file of a run the live file that it is: the same path and size.
    pub(super) fn live(&self, run: &Run) -> Vec<Option<u32>> {
        let same = |path: &str, bytes: u64| {
            let at = *self.by_path.get(path)?;
            (self.files[at as usize].bytes == bytes).then_some(at)
        };
        run.directory.files.iter().map(|file| same(&file.path, file.bytes)).collect()
    }

    /// The run that answers for a file (its path as in the Delta log), and as which of its files.
    pub(super) fn run_of(&self, path: &str) -> Option<(&Used, u16)> {
        let at = *self.by_path.get(path)?;
        let (run, number) = self.of_file[at as usize]?;
        Some((&self.runs[run as usize], number))
    }

    pub(super) fn is_live(&self, run: &Run) -> bool {
        self.live(run).iter().any(Option::is_some)
    }
}

/// A file that may hold a trace.
#[derive(Clone, Debug)]
pub(in crate::store) struct Candidate {
    pub(in crate::store) file: DataFile,
    /// The row groups that hold it; `None` where no run tells.
    pub(in crate::store) groups: Option<Vec<usize>>,
}

impl Index {
    /// Which runs answer for the files of a version of `spans`. Asks the store only for what is new.
    pub(in crate::store) async fn coverage(
        &self,
        tenant: &Tenant,
        listing: &Listing,
    ) -> Result<Arc<Coverage>, StoreError> {
        let coverage = self.tenant(tenant).coverage(listing).await;
        self.forget_unused(tenant);
        coverage
    }

    /// Whether runs of a tenant were left out for want of memory.
    pub(in crate::store) async fn is_full(&self, tenant: &Tenant) -> bool {
        self.tenant(tenant).state.lock().await.is_full
    }

    /// The files that may hold a trace of this fingerprint.
    pub(in crate::store) async fn candidates(
        &self,
        tenant: &Tenant,
        coverage: &Coverage,
        fingerprint: u64,
    ) -> Vec<Candidate> {
        let of_tenant = self.tenant(tenant);
        let asked = coverage.runs.iter().enumerate().map(|(number, used)| {
            let (shelf, run) = (of_tenant.shelf.clone(), Arc::clone(&used.run));
            async move { (number, shelf.find(&run, fingerprint).await) }
        });
        let asked = futures::stream::iter(asked.collect::<Vec<_>>());
        let answers: Vec<_> = asked.buffer_unordered(RUNS_AT_ONCE).collect().await;
        let mut groups: BTreeMap<u32, Option<Vec<usize>>> =
            coverage.uncovered.iter().map(|at| (*at, None)).collect();
        for (number, answer) in answers {
            let used = &coverage.runs[number];
            match answer {
                Ok(entries) => {
                    for entry in entries {
                        if let Some(Some(at)) = used.live.get(usize::from(entry.file()))
                            && let Some(groups) = groups.entry(*at).or_insert_with(|| Some(Vec::new()))
                        {
                            groups.push(usize::from(entry.group()));
                        }
                    }
                }
                Err(trouble) => {
                    of_tenant.report(&used.run, &trouble).await;
                    groups.extend(used.live.iter().flatten().map(|at| (*at, None)));
                }
            }
        }
        let candidate = |(at, groups): (u32, Option<Vec<usize>>)| {
            let groups = groups.map(|mut groups| {
                groups.sort_unstable();
                groups.dedup();
                groups
            });
            Candidate { file: coverage.files[at as usize].clone(), groups }
        };
        groups.into_iter().map(candidate).collect()
    }

    /// Brings the runs of these files into the cache, as far as there is room; gives how many came. For whoever has time: a question
    /// that comes before reads a few pages of each large run from the store.
    ///
    /// # Errors
    /// As the store has them.
    pub(in crate::store) async fn warm(&self, tenant: &Tenant, listing: &Listing) -> Result<u64, StoreError> {
        let coverage = self.coverage(tenant, listing).await?;
        let of_tenant = self.tenant(tenant);
        let mut fetched = 0;
        for Used { run, .. } in &coverage.runs {
            let cache = &self.inner.cache;
            if cache.has(tenant, &run.name) || !cache.has_room_for(run.bytes) {
                continue;
            }
            match of_tenant.shelf.fetch_whole(run).await {
                Ok(()) => fetched += 1,
                Err(trouble) => of_tenant.report(run, &trouble).await,
            }
        }
        Ok(fetched)
    }
}

impl TenantIndex {
    async fn coverage(&self, listing: &Listing) -> Result<Arc<Coverage>, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(known) = state.coverage.as_ref().filter(|c| c.version == listing.version) {
            return Ok(Arc::clone(known));
        }
        let mut coverage = Coverage::new(&state.runs, listing);
        if !coverage.uncovered.is_empty() && !state.cache_seen {
            state.cache_seen = true;
            let here = self.shelf.cache.runs_of(&self.shelf.tenant);
            coverage = self.take(&mut state, here, listing).await?;
        }
        if !coverage.uncovered.is_empty() && state.listed != Some(listing.version) {
            let there = self.shelf.list().await?;
            let there = there.into_iter().filter_map(|o| Some((o.location.filename()?.to_owned(), o.size)));
            let there: Vec<_> = there.filter(|(name, _)| is_name(name)).collect();
            let on_store: HashSet<String> = there.iter().map(|(name, _)| name.clone()).collect();
            state.useless.retain(|name| on_store.contains(name));
            coverage = self.take(&mut state, there, listing).await?;
            // What is neither live nor on the store (any more) tells nobody anything.
            state.runs.retain(|name, run| on_store.contains(name) || coverage.is_live(run));
            state.listed = Some(listing.version);
        }
        state.forget_useless(&coverage);
        let coverage = Arc::new(coverage);
        state.coverage = Some(Arc::clone(&coverage));
        self.known.set(state.bytes());
        Ok(coverage)
    }

    /// Opens those of these runs that are not known.
    async fn take(
        &self,
        state: &mut State,
        runs: Vec<(String, u64)>,
        listing: &Listing,
    ) -> Result<Coverage, StoreError> {
        let is_new =
            |(name, _): &(String, u64)| !state.runs.contains_key(name) && !state.useless.contains(name);
        let new: Vec<_> = runs.into_iter().filter(is_new).collect();
        let opened = futures::stream::iter(new).map(|(name, bytes)| async move {
            match self.shelf.open(&name, bytes).await {
                Ok(run) => Ok((name, Some(run))),
                Err(Trouble::Store(error)) => Err(error),
                Err(Trouble::Gone) => Ok((name, None)),
                Err(trouble @ Trouble::Damaged) => {
                    let path = self.shelf.path(&name);
                    tracing::warn!(%path, %trouble, "an index run is left out; rebuild the index to make it again");
                    Ok((name, None))
                }
            }
        });
        let opened: Vec<_> = opened.buffer_unordered(RUNS_AT_ONCE).try_collect().await?;
        for (name, run) in opened {
            match run {
                Some(run) if self.known.has_room_for(state.bytes(), &run.directory) => {
                    state.runs.insert(name, Arc::new(run));
                }
                Some(_) => {
                    let path = self.shelf.path(&name);
                    tracing::warn!(%path, "the table has more files than there is memory to know of: raise memory.limit");
                    state.is_full = true;
                    state.useless.insert(name);
                }
                None => {
                    state.useless.insert(name);
                }
            }
        }
        Ok(Coverage::new(&state.runs, listing))
    }

    /// A run whose directory is in memory.
    pub(super) async fn known(&self, name: &str) -> Option<Arc<Run>> {
        self.state.lock().await.runs.get(name).cloned()
    }

    /// Forgets a run that is to be deleted from the store.
    pub(super) async fn forget(&self, name: &str) {
        self.state.lock().await.drop_run(name);
        self.shelf.cache.forget(&self.shelf.tenant, name);
    }

    /// A run did not answer: those of its files are found without it.
    pub(super) async fn report(&self, run: &Run, trouble: &Trouble) {
        let path = self.shelf.path(&run.name);
        match trouble {
            Trouble::Store(error) => tracing::warn!(%path, %error, "an index run cannot be read"),
            Trouble::Gone | Trouble::Damaged => {
                tracing::warn!(%path, %trouble, "an index run is left out; rebuild the index to make it again");
                let mut state = self.state.lock().await;
                state.drop_run(&run.name);
                if matches!(trouble, Trouble::Damaged) {
                    state.useless.insert(run.name.clone());
                }
                // Whoever merged it has put another in its place.
                state.listed = None;
            }
        }
    }
}

impl Shelf {
    /// Deletes runs from the store; those that are gone already count too.
    pub(super) async fn delete(&self, runs: BTreeSet<Path>) -> Result<u64, StoreError> {
        for path in &runs {
            match self.objects.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(StoreError::of_objects(&format!("cannot delete {path}"), error)),
            }
        }
        Ok(runs.len() as u64)
    }

    /// The objects in the folder.
    pub(super) async fn list(&self) -> Result<Vec<object_store::ObjectMeta>, StoreError> {
        let listed = self.objects.list(Some(&self.folder)).try_collect::<Vec<_>>().await;
        listed.map_err(|e| StoreError::of_objects(&format!("cannot list {}", self.folder), e))
    }
}
