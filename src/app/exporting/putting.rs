//! A batch's spans, read from the daemon's log once and cut for each backend, into their logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::target::Target;
use crate::forward::kept::Going;
use crate::forward::split::Part;
use crate::log::{LogReader, Position, ReadError, SpansRecord};
use crate::runtime::{Shutdown, Tenant};
use crate::sample::{Batch, KeptTrace};

/// How long to wait before the log is read again that could not be.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// One batch on its way to some backends.
pub struct Putting {
    pub targets: Vec<Arc<Target>>,
    pub records: LogReader,
    pub batch: Arc<Batch>,
    pub stop: Shutdown,
}

/// The daemon is stopping: what is not done comes again after the next start.
struct Stopped;

/// What one backend gets of one tenant's part of the batch.
struct For<'b> {
    target: &'b Target,
    going: Going<'b>,
    /// Pieces that are not in its log yet.
    waiting: Vec<Bytes>,
    bytes: usize,
    spans: u32,
}

impl Putting {
    /// Blocks until everything is in the logs, or counted.
    pub fn run(self) {
        let runtime = Handle::current();
        for traces in self.batch.traces.chunk_by(|a, b| a.tenant == b.tenant) {
            if self.put_tenant(traces, &runtime).is_err() {
                return;
            }
        }
        self.targets.iter().for_each(|target| target.finish(self.batch.id, &runtime));
    }

    fn put_tenant(&self, traces: &[KeptTrace], runtime: &Handle) -> Result<(), Stopped> {
        let Some(tenant) = traces.first().map(|trace| &trace.tenant) else { return Ok(()) };
        let begin = |target| For::new(target, traces);
        let mut all: Vec<_> = self.targets.iter().map(|target| begin(&**target)).collect();
        self.ask_filters(&mut all, runtime)?;
        all.retain(|one| !one.going.is_empty());
        for position in positions(&all) {
            let Some(record) = self.read(position, runtime)? else { continue };
            for one in &mut all {
                let parts = one.going.cut(position, &record.body, one.target.request_bytes);
                for part in parts.unwrap_or_default() {
                    one.add(part, tenant, runtime, &self.stop)?;
                }
            }
        }
        all.iter_mut().try_for_each(|one| one.flush(tenant, runtime, &self.stop))
    }

    /// Leaves what passes the filters of those who have one.
    fn ask_filters(&self, all: &mut [For<'_>], runtime: &Handle) -> Result<(), Stopped> {
        let has_filter = |one: &&mut For<'_>| one.target.choice.filter.is_some() && !one.going.is_empty();
        for one in all.iter_mut().filter(has_filter) {
            let Some(filter) = &one.target.choice.filter else { continue };
            let mut look = filter.look();
            for position in one.going.positions() {
                if let Some(record) = self.read(position, runtime)?
                    && let Err(error) = look.add(&one.going, position, &record.body)
                {
                    tracing::error!(%position, %error, "a record is not looked at by the filter of an export");
                }
            }
            look.decide(&mut one.going);
        }
        Ok(())
    }

    /// A record's spans; `None` where the log has lost them: the store tells and counts that.
    fn read(&self, position: Position, runtime: &Handle) -> Result<Option<Arc<SpansRecord>>, Stopped> {
        loop {
            match self.records.spans(position) {
                Ok(record) => return Ok(Some(record)),
                Err(ReadError::Io(error)) => {
                    tracing::warn!(%error, "the log cannot be read for exports; tried again");
                    let slept = async {
                        tokio::select! {
                            () = tokio::time::sleep(READ_AGAIN) => Ok(()),
                            () = self.stop.begun() => Err(Stopped),
                        }
                    };
                    runtime.block_on(slept)?;
                }
                Err(_) => return Ok(None),
            }
        }
    }
}

/// The records that hold anything for anybody, ascending.
fn positions(all: &[For<'_>]) -> Vec<Position> {
    let mut positions: Vec<_> = all.iter().flat_map(|one| one.going.positions()).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

impl<'b> For<'b> {
    fn new(target: &'b Target, traces: &'b [KeptTrace]) -> Self {
        Self { target, going: target.choice.going(traces), waiting: Vec::new(), bytes: 0, spans: 0 }
    }

    fn add(&mut self, part: Part, tenant: &Tenant, runtime: &Handle, stop: &Shutdown) -> Result<(), Stopped> {
        if self.bytes > 0 && self.bytes + part.body.len() > self.target.request_bytes {
            self.flush(tenant, runtime, stop)?;
        }
        self.bytes += part.body.len();
        self.spans = self.spans.saturating_add(part.spans);
        self.waiting.push(part.body);
        Ok(())
    }

    /// Puts what waits into the log as one record: repeated fields one behind the other are one request.
    fn flush(&mut self, tenant: &Tenant, runtime: &Handle, stop: &Shutdown) -> Result<(), Stopped> {
        let pieces = std::mem::take(&mut self.waiting);
        let (bytes, spans) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.spans));
        let body = match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => whole,
            Err(pieces) => {
                let mut whole = Vec::with_capacity(bytes);
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                whole.into()
            }
        };
        if spans == 0 || self.target.put(tenant, body, spans, runtime, stop) { Ok(()) } else { Err(Stopped) }
    }
}
