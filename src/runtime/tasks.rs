//! The only place that spawns. Every task and thread has a name, and a panic in one is reported, never lost.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// A task that did not come to its end: it panicked, or was aborted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{task} died: {message}")]
pub struct Panicked {
    /// The task's name.
    pub task: &'static str,
    /// The panic's message, or `aborted`.
    pub message: String,
}

/// Runs the streams of an HTTP/2 connection where the connection runs.
#[derive(Clone, Debug)]
pub struct OnRuntime(pub Handle);

impl<F> hyper::rt::Executor<F> for OnRuntime
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// Spawns tasks and threads, and hears of the first that panics. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    runtime: Handle,
    first_panic: Arc<watch::Sender<Option<Panicked>>>,
}

impl Tasks {
    /// Spawns on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, first_panic: Arc::new(watch::Sender::new(None)) }
    }

    /// The runtime that tasks run on.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Runs a future as a task of its own.
    pub fn spawn<F>(&self, task: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (outcome, handle) = oneshot::channel();
        let tasks = self.clone();
        let spawned = self.runtime.spawn(async move {
            let done = AssertUnwindSafe(future).catch_unwind().await;
            // The receiver may be gone: whoever spawned it did not care for the outcome.
            let _ = outcome.send(done.map_err(|panic| tasks.report(task, &*panic)));
        });
        TaskHandle { task, outcome: handle, abort: Some(spawned.abort_handle()) }
    }

    /// Runs `body` on a thread of its own, for as long as it likes.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn thread<T, F>(&self, task: &'static str, body: F) -> io::Result<TaskHandle<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (outcome, handle) = oneshot::channel();
        let tasks = self.clone();
        std::thread::Builder::new().name(task.to_owned()).spawn(move || tasks.guard(task, body, outcome))?;
        Ok(TaskHandle { task, outcome: handle, abort: None })
    }

    /// Runs `body`, which blocks for a while but comes to an end, on the runtime's blocking threads.
    pub fn blocking<T, F>(&self, task: &'static str, body: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (outcome, handle) = oneshot::channel();
        let tasks = self.clone();
        self.runtime.spawn_blocking(move || tasks.guard(task, body, outcome));
        TaskHandle { task, outcome: handle, abort: None }
    }

    /// Waits until some task panics, and says which. Gives the first one again each time.
    pub async fn first_panic(&self) -> Panicked {
        let mut panics = self.first_panic.subscribe();
        loop {
            if let Some(panicked) = panics.borrow_and_update().clone() {
                return panicked;
            }
            if panics.changed().await.is_err() {
                // The sender lives in `self`, so this cannot happen; waiting for ever is still the right answer.
                std::future::pending::<()>().await;
            }
        }
    }

    fn guard<T>(&self, task: &'static str, body: impl FnOnce() -> T, outcome: oneshot::Sender<Outcome<T>>) {
        let done = catch_unwind(AssertUnwindSafe(body));
        let _ = outcome.send(done.map_err(|panic| self.report(task, &*panic)));
    }

    fn report(&self, task: &'static str, panic: &(dyn Any + Send)) -> Panicked {
        let panicked = Panicked { task, message: message_of(panic) };
        tracing::error!(task, message = panicked.message, "a task panicked");
        self.first_panic.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| panicked.clone());
            is_first
        });
        panicked
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

type Outcome<T> = Result<T, Panicked>;

/// A running task: a future of its outcome. Dropping it lets the task go on alone.
#[must_use = "a task nobody waits for ends unseen; drop it on purpose"]
pub struct TaskHandle<T> {
    task: &'static str,
    outcome: oneshot::Receiver<Outcome<T>>,
    abort: Option<AbortHandle>,
}

impl<T> TaskHandle<T> {
    /// Stops a task of [`Tasks::spawn`] at its next await; threads and blocking bodies run on.
    pub fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.task
    }

    /// Waits for a thread's outcome without a runtime.
    ///
    /// # Errors
    /// [`Panicked`] if it did not come to its end.
    pub fn join(self) -> Result<T, Panicked> {
        let Self { task, outcome, .. } = self;
        outcome.blocking_recv().unwrap_or_else(|_| Err(aborted(task)))
    }
}

fn aborted(task: &'static str) -> Panicked {
    Panicked { task, message: "aborted".to_owned() }
}

impl<T> Future for TaskHandle<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task;
        self.outcome.poll_unpin(cx).map(|received| received.unwrap_or_else(|_| Err(aborted(task))))
    }
}
