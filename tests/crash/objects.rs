//! An object store that refuses, stalls and forgets to answer. Whether a request fails is drawn from the seed, the attempt
//! it belongs to, the operation and the object, so that the order in which concurrent requests arrive changes nothing.
//! It outlives the machine: what was in flight when that died has happened, or not.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tracewell::runtime::Clock;
use twox_hash::XxHash3_64;

use crate::clock::SimClock;
use crate::journal::{Journal, note};

/// What a request meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// 500, 503, a connection that is refused, an upload that is cut off: nothing happened.
    Refused,
    /// No answer came in time, and it did happen.
    LostAnswer,
    /// No answer came in time; the client asked again and was told that it had happened already.
    AskedAgain,
}

struct State {
    seed: u64,
    /// Requests of one attempt to write a batch draw their fate together.
    attempt: u64,
    /// The share of requests that fail.
    failing: f64,
    /// Forced, for directed tests: of puts whose path ends so.
    forced: Vec<(&'static str, Fault)>,
    dies_in: Option<u64>,
    dead: bool,
    times: HashMap<Path, i64>,
}

/// The store; clones are the same one.
#[derive(Clone)]
pub struct SimObjects {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
    clock: SimClock,
    journal: Journal,
}

impl fmt::Display for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

impl fmt::Debug for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "simulated", source: why.into() }
}

impl SimObjects {
    pub fn new(seed: u64, clock: SimClock, journal: Journal) -> Self {
        let state = State {
            seed,
            attempt: 0,
            failing: 0.0,
            forced: Vec::new(),
            dies_in: None,
            dead: false,
            times: HashMap::new(),
        };
        Self { inner: Arc::default(), state: Arc::new(Mutex::new(state)), clock, journal }
    }

    /// The objects as they are, without faults: for the oracle.
    pub fn contents(&self) -> Arc<InMemory> {
        Arc::clone(&self.inner)
    }

    /// From now on requests belong to the next attempt.
    pub fn next_attempt(&self) {
        self.state.lock().attempt += 1;
    }

    pub fn set_failing(&self, failing: f64) {
        self.state.lock().failing = failing;
    }

    /// The next put of an object whose name ends so meets this fault.
    pub fn force(&self, suffix: &'static str, fault: Fault) {
        self.state.lock().forced.push((suffix, fault));
    }

    /// The machine that asks dies at the change after so many more.
    pub fn die_in(&self, changes: u64) {
        self.state.lock().dies_in = Some(changes);
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    pub fn revive(&self) {
        let mut state = self.state.lock();
        (state.dead, state.dies_in) = (false, None);
    }

    fn fault(&self, operation: &str, path: &str) -> Result<Fault> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(failed("the machine is off"));
        }
        if operation == "put"
            && let Some(at) = state.forced.iter().position(|(suffix, _)| path.ends_with(suffix))
        {
            return Ok(state.forced.remove(at).1);
        }
        let draw = |what: &str| {
            let of = format!("{}/{operation}/{path}/{what}", state.attempt);
            XxHash3_64::oneshot_with_seed(state.seed, of.as_bytes())
        };
        let fails = (draw("fails") >> 11) as f64 / ((1u64 << 53) as f64) < state.failing;
        Ok(match draw("how") % 4 {
            _ if !fails => Fault::None,
            0 | 1 => Fault::Refused,
            2 => Fault::LostAnswer,
            _ => Fault::AskedAgain,
        })
    }

    /// Whether the machine dies before or after this change, if it does.
    fn fate(&self) -> Option<&'static str> {
        let mut state = self.state.lock();
        match &mut state.dies_in {
            Some(0) => {
                (state.dead, state.dies_in) = (true, None);
                Some(if state.attempt.is_multiple_of(2) { "dies before" } else { "dies after" })
            }
            Some(left) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    fn put_time(&self, path: &Path) {
        let now_ms = (self.clock.now_unix_nano() / 1_000_000) as i64;
        self.state.lock().times.insert(path.clone(), now_ms);
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.fault("put", path.as_ref())?;
        let fate = self.fate();
        note!(self.journal, "store put {path} {fault:?} {}", fate.unwrap_or("ok"));
        if fate == Some("dies before") {
            return Err(failed("the machine is off"));
        }
        if fault == Fault::Refused {
            return Err(failed("503 Service Unavailable: SlowDown"));
        }
        let creates = matches!(options.mode, PutMode::Create);
        let put = self.inner.put_opts(path, payload, options).await;
        if put.is_ok() {
            self.put_time(path);
        }
        if fault != Fault::None {
            self.clock.advance(Duration::from_secs(5));
        }
        match fault {
            _ if fate.is_some() => Err(failed("the machine is off")),
            Fault::LostAnswer => Err(failed("operation timed out")),
            Fault::AskedAgain if creates && put.is_ok() => {
                Err(Error::AlreadyExists { path: path.to_string(), source: "412".into() })
            }
            _ => put,
        }
    }

    async fn delete_one(self, path: Path) -> Result<Path> {
        use object_store::ObjectStoreExt;
        let fault = self.fault("delete", path.as_ref())?;
        let fate = self.fate();
        note!(self.journal, "store delete {path} {fault:?} {}", fate.unwrap_or("ok"));
        if fate == Some("dies before") || fault == Fault::Refused {
            return Err(failed("503 Service Unavailable: SlowDown"));
        }
        self.inner.delete(&path).await?;
        if fault == Fault::LostAnswer || fate.is_some() {
            Err(failed("operation timed out"))
        } else {
            Ok(path)
        }
    }

    /// The time of the simulation, in place of the machine's.
    fn in_time(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(at) = self.state.lock().times.get(&meta.location) {
            let behind_ms = at - meta.last_modified.timestamp_millis();
            let by = Duration::from_millis(behind_ms.unsigned_abs());
            meta.last_modified =
                if behind_ms < 0 { meta.last_modified - by } else { meta.last_modified + by };
        }
        meta
    }

    fn read(&self, operation: &str, path: &str) -> Result<()> {
        match self.fault(operation, path)? {
            Fault::None => Ok(()),
            _ => Err(failed("500 Internal Server Error")),
        }
    }
}

#[tonic::async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        Box::pin(self.put(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(failed("no upload in parts in the simulation"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read("get", location.as_ref())?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |path| {
                let store = store.clone();
                async move { store.delete_one(path?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.read("list", prefix.map_or("", |path| path.as_ref())) {
            return futures::stream::iter([Err(error)]).boxed();
        }
        let store = self.clone();
        self.inner.list(prefix).map(move |meta| Ok(store.in_time(meta?))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read("list", prefix.map_or("", |path| path.as_ref()))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(failed("nothing copies objects"))
    }
}
