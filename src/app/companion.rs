//! What runs beside the daemon and sends to it, like `--demo`: through the configured door where that is plain, else through
//! one of its own, a socket in the data folder that only this user may open.

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::listeners::Listeners;
use super::trust::Trust;
use crate::receive::{Ingest, Protocol, Receiver};
use crate::runtime::net::Listener;
use crate::runtime::{Shutdown, TaskHandle, Tasks};

const SOCKET: &str = "companion.sock";

/// How the daemon is reached from inside.
pub struct Entrance {
    /// Its OTLP/gRPC: `http://HOST:PORT` or `unix://PATH`.
    pub endpoint: String,
    /// What to show there (`Authorization: Bearer …`), where anybody is asked.
    pub token: Option<String>,
}

/// What runs beside the daemon and sends to it: given how to reach it, and a token that says when to stop.
pub type Companion = Box<dyn FnOnce(Entrance, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// What it takes to let a companion in.
pub(super) struct Doorway {
    /// Where OTLP/gRPC is listened on, unless that takes TLS.
    endpoint: Option<String>,
    socket: PathBuf,
    serve: Box<dyn FnOnce(Listener) -> TaskHandle<()> + Send>,
}

impl Doorway {
    pub(super) fn new<I: Ingest>(
        tasks: &Tasks,
        receiver: &Receiver<I>,
        listeners: &Listeners,
        receiving: &Shutdown,
        data: &Path,
    ) -> Self {
        let (tasks, receiver, stop) = (tasks.clone(), receiver.clone(), receiving.token());
        let serve =
            move |listener| tasks.spawn("otlp-companion", receiver.serve(Protocol::Grpc, listener, stop));
        Self { endpoint: listeners.grpc_endpoint(), socket: data.join(SOCKET), serve: Box::new(serve) }
    }

    /// Starts the companion, if there is one; it runs until the receivers stop. A door of its own becomes one of `receivers`.
    pub(super) async fn let_in(
        self,
        companion: Option<Companion>,
        tasks: &Tasks,
        trust: &Trust,
        receiving: &Shutdown,
        receivers: &mut Vec<TaskHandle<()>>,
    ) -> Result<(), StartError> {
        let Some(companion) = companion else { return Ok(()) };
        let token = trust.own_credential()?;
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => {
                let path = self.socket.display().to_string();
                let wrong = |source| StartError::Listen { what: "--demo", address: path.clone(), source };
                let listener = Listener::unix(&self.socket, 0o600).await.map_err(wrong)?;
                receivers.push((self.serve)(listener));
                format!("unix://{path}")
            }
        };
        let entrance = Entrance { endpoint, token };
        let _runs_until_the_receivers_stop = tasks.spawn("companion", companion(entrance, receiving.token()));
        Ok(())
    }
}
