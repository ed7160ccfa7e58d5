//! Who is let in: certificates, credentials and keys, read at the start and again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Handle;

use super::StartError;
use crate::auth::{CREDENTIALS_BYTES_MAX, Credentials, Gate, KeySet, KeysFrom, new_token};
use crate::config::Config;
use crate::observe::TrustNow;
use crate::runtime::disk::{read_bounded, read_text};
use crate::runtime::follow::{Group, Standing, follow};
use crate::runtime::net::{ServerTls, TlsCounts};
use crate::runtime::tls::{ServerFiles, ServerIdentity, TlsError, server_identity};
use crate::runtime::{Clock, Disk, Shutdown, TaskHandle, Tasks};

/// The largest JWK set read, in bytes.
const KEYS_BYTES_MAX: u64 = 512 * 1024;

/// Everything that says who is let in.
pub struct Trust {
    /// For requests.
    pub(super) gate: Arc<Gate>,
    /// For connections to the OTLP listeners,
    pub(super) otlp: Option<ServerTls>,
    /// and to the API's.
    pub(super) api: Option<ServerTls>,
    standings: Vec<Standing>,
    groups: Mutex<Vec<Group>>,
}

/// Files, how they are read, and how that stands.
struct Loading<'a> {
    config: &'a Config,
    disk: &'a Arc<dyn Disk>,
    clock: &'a Arc<dyn Clock>,
    standings: Vec<Standing>,
    groups: Vec<Group>,
}

impl Trust {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    /// The first file that cannot be used: at the start there is no last good one.
    pub(super) fn load(
        config: &Config,
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        tasks: Handle,
    ) -> Result<Arc<Self>, StartError> {
        let key = random_bytes()?;
        let gate = Arc::new(Gate::new(config.auth.clone(), clock.clone(), tasks, &key));
        let mut loading = Loading { config, disk, clock, standings: Vec::new(), groups: Vec::new() };
        let otlp = config.tls.otlp.as_ref().map(|files| loading.tls("tls", files)).transpose()?;
        let api = match (&config.tls.api, &config.tls.otlp) {
            (None, _) => None,
            (api, otlp_files) if api == otlp_files => otlp.clone(),
            (Some(files), _) => Some(loading.tls("tls_api", files)?),
        };
        if let Some(path) = &config.auth.credentials {
            loading.credentials(path, &gate)?;
        }
        match config.auth.jwt.as_ref().map(|jwt| &jwt.keys) {
            Some(KeysFrom::File(path)) => loading.keys(path, &gate)?,
            _ => loading.standings.extend(gate.keys_standing().cloned()),
        }
        let Loading { standings, groups, .. } = loading;
        Ok(Arc::new(Self { gate, otlp, api, standings, groups: Mutex::new(groups) }))
    }

    /// Reads files again when they change, until `stop`; `None` when there are none.
    pub(super) fn follow(
        &self,
        tasks: &Tasks,
        disk: Arc<dyn Disk>,
        stop: Shutdown,
    ) -> Result<Option<TaskHandle<()>>, StartError> {
        let groups = std::mem::take(&mut *self.groups.lock());
        if groups.is_empty() {
            return Ok(None);
        }
        let thread = tasks.thread("trust", move || follow(&*disk, groups, &stop));
        thread.map(Some).map_err(StartError::Thread)
    }

    /// A credential for what runs in this process; `None` where nobody is asked for one. It is nowhere but in memory.
    pub(super) fn own_credential(&self) -> Result<Option<String>, StartError> {
        if !self.gate.asks() {
            return Ok(None);
        }
        let token = new_token(&random_bytes()?);
        self.gate.trust_own(&token);
        Ok(Some(token))
    }

    /// How it stands.
    pub(super) fn now(&self) -> TrustNow {
        let mut handshakes = TlsCounts::default();
        let own = self.api.as_ref().filter(|api| self.otlp.as_ref().is_none_or(|otlp| !api.is(otlp)));
        for tls in self.otlp.iter().chain(own) {
            let TlsCounts { done, failed, plain_text } = tls.counts();
            handshakes.done += done;
            handshakes.failed += failed;
            handshakes.plain_text += plain_text;
        }
        let standings = self.standings.iter().map(Standing::now).collect();
        TrustNow { standings, handshakes, ..TrustNow::of(&self.gate) }
    }
}

fn random_bytes() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StartError::Setting("the system gives no random numbers".into()))?;
    Ok(bytes)
}

/// How the files of a listener stand: all of them, and its revocation lists, which come from somebody else.
#[derive(Clone)]
struct OfTls {
    certificate: Standing,
    lists: Option<(PathBuf, Standing)>,
}

impl OfTls {
    fn new(what: &'static str, files: &ServerFiles) -> Self {
        let of_lists = if what == "tls" { "tls_crl" } else { "tls_api_crl" };
        let lists = files.crl.as_ref().map(|path| (path.clone(), Standing::new(of_lists)));
        Self { certificate: Standing::new(what), lists }
    }

    fn loaded(&self, identity: &ServerIdentity, clock: &dyn Clock) {
        self.certificate.loaded(clock, Some(identity.validity.not_after));
        let Some((path, lists)) = &self.lists else { return };
        lists.loaded(clock, identity.crl_next_update);
        let now = i64::try_from(clock.now_unix_nano() / 1_000_000_000).unwrap_or(i64::MAX);
        if identity.crl_next_update.is_some_and(|next| next < now) {
            let file = path.display();
            tracing::warn!(%file, "the CA should have published a newer revocation list by now; this one holds on");
        }
    }

    fn refused(&self, error: &TlsError) {
        match &self.lists {
            Some((path, lists)) if *path == error.path => lists.refused(error),
            _ => self.certificate.refused(error),
        }
    }
}

impl Loading<'_> {
    fn tls(&mut self, what: &'static str, files: &ServerFiles) -> Result<ServerTls, StartError> {
        let group = Group::new(&**self.disk, files.paths());
        let wrong = |error: TlsError| StartError::Setting(format!("cannot speak TLS: {error}"));
        let identity = server_identity(files, &**self.disk, &**self.clock).map_err(wrong)?;
        let standings = OfTls::new(what, files);
        standings.loaded(&identity, &**self.clock);
        let tls = ServerTls::new(identity, self.config.tls.handshake_timeout);
        let (files, disk, clock) = (files.clone(), self.disk.clone(), self.clock.clone());
        let (installed, told) = (tls.clone(), standings.clone());
        self.groups.push(group.then(move || match server_identity(&files, &*disk, &*clock) {
            Ok(identity) => {
                told.loaded(&identity, &*clock);
                installed.install(identity);
            }
            Err(error) => told.refused(&error),
        }));
        self.standings
            .extend([standings.certificate].into_iter().chain(standings.lists.map(|(_, lists)| lists)));
        Ok(tls)
    }

    fn credentials(&mut self, path: &Path, gate: &Arc<Gate>) -> Result<(), StartError> {
        let standing = gate.credentials_standing.clone();
        let install = {
            let gate = gate.clone();
            move |credentials| gate.install_credentials(credentials)
        };
        let read = |disk: &dyn Disk, path: &Path| {
            let text = read_text(disk, path, CREDENTIALS_BYTES_MAX).map_err(|error| error.to_string())?;
            Credentials::parse(&text)
        };
        self.file("auth.credentials", path, standing, read, install)
    }

    fn keys(&mut self, path: &Path, gate: &Arc<Gate>) -> Result<(), StartError> {
        let Some(standing) = gate.keys_standing().cloned() else { return Ok(()) };
        let install = {
            let gate = gate.clone();
            move |keys| gate.install_keys(keys)
        };
        let read = |disk: &dyn Disk, path: &Path| {
            KeySet::parse(&read_bounded(disk, path, KEYS_BYTES_MAX).map_err(|error| error.to_string())?)
        };
        self.file("auth.jwt.jwks", path, standing, read, install)
    }

    /// One file: what it says is installed, now and whenever it changes.
    fn file<T: 'static>(
        &mut self,
        key: &str,
        path: &Path,
        standing: Standing,
        read: fn(&dyn Disk, &Path) -> Result<T, String>,
        install: impl Fn(T) + Send + 'static,
    ) -> Result<(), StartError> {
        let group = Group::new(&**self.disk, vec![path.to_path_buf()]);
        let explain = |problem: String| format!("{}: {problem}", path.display());
        let first = read(&**self.disk, path);
        let first = first.map_err(|problem| StartError::Setting(format!("`{key}`: {}", explain(problem))))?;
        install(first);
        standing.loaded(&**self.clock, None);
        let (disk, clock, path, told) =
            (self.disk.clone(), self.clock.clone(), path.to_path_buf(), standing.clone());
        self.groups.push(group.then(move || match read(&*disk, &path) {
            Ok(read) => {
                install(read);
                told.loaded(&*clock, None);
            }
            Err(problem) => told.refused(&format!("{}: {problem}", path.display())),
        }));
        self.standings.push(standing);
        Ok(())
    }
}
