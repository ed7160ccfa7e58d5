//! What the daemon's loops and its senders do, one step at a time, in an order that the dice choose.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::noop_waker;
use tracewell::app::events::{Attachment, Event};
use tracewell::receive::{ExportRequest, Ingest, Origin};
use tracewell::runtime::Clock;
use tracewell::sample::parse_rules;

use super::{Waiting, World, address};
use crate::journal::note;
use crate::load::rules;
use crate::oracle::{Breach, Mark};

const WAITING_MAX: usize = 12;

impl World {
    pub fn step(&mut self) -> Result<(), Breach> {
        if self.dice.below(1000) < self.perils.crashes {
            return self.crash();
        }
        match self.dice.below(1000) {
            0..300 => self.send(),
            300..500 => self.write_log()?,
            500..700 => self.hear(),
            830..950 => self.pass(self.dice.millis(1..=60)),
            950..955 => {
                self.pass(self.dice.millis(500..=4000));
                self.compact()?;
            }
            955..980 => self.store_batch(),
            700..705 => self.keep_checkpoint(),
            705..710 => self.index(),
            710..720 => self.rescue(),
            720..830 => self.turn(),
            980..982 => self.reload(),
            982 => self.jump(),
            983 => drop(self.expire()?),
            984..990 => self.change_weather(),
            990..994 => self.doom(),
            994 => self.drain()?,
            995 => self.idle()?,
            _ => self.turn(),
        }
        self.settle()
    }

    /// Hears what senders are told, and buries the machine if it died meanwhile.
    pub fn settle(&mut self) -> Result<(), Breach> {
        self.poll()?;
        if self.machine.disk.is_dead() || self.machine.objects.is_dead() {
            self.crash()?;
        }
        Ok(())
    }

    pub fn pass(&mut self, time: Duration) {
        note!(self.journal, "{time:?} pass");
        self.machine.clock.advance(time);
    }

    fn jump(&mut self) {
        let secs = if self.dice.chance(0.5) { 3600 } else { -3600 };
        note!(self.journal, "the wall clock jumps by {secs} s");
        self.machine.clock.jump(secs);
    }

    fn send(&mut self) {
        if self.waiting.len() >= WAITING_MAX {
            return;
        }
        match self.again.pop_front() {
            Some(sent) if self.dice.chance(0.5) => self.try_sending(sent),
            other => {
                self.again.extend(other);
                self.send_new();
            }
        }
    }

    pub fn send_new(&mut self) {
        let request = self.load.next_request(self.machine.clock.now_unix_nano());
        let sent = self.oracle.sends(request);
        self.try_sending(sent);
    }

    pub fn try_sending(&mut self, sent: usize) {
        let received_unix_nano = self.machine.clock.now_unix_nano();
        let request_id = self.oracle.tries(sent, received_unix_nano);
        let request = &self.oracle.sent[sent].request;
        let (tenant, body) = (request.tenant.clone(), request.body.clone());
        note!(self.journal, "request {sent} is sent as {request_id}");
        let origin = Origin::default();
        let request = ExportRequest { tenant, request_id, received_unix_nano, origin, body };
        let pipeline = Arc::clone(&self.process().pipeline);
        let answer = Box::pin(async move { pipeline.ingest(request).await });
        self.waiting.push(Waiting { sent, answer });
    }

    /// Lets every request go on as far as it can.
    pub fn poll(&mut self) -> Result<(), Breach> {
        let _clock = self.runtime.enter();
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.answer.as_mut().poll(&mut context) {
                Poll::Pending => self.waiting.push(waiting),
                Poll::Ready(answer) => {
                    note!(self.journal, "request {} is answered: {}", waiting.sent, answer.is_ok());
                    if answer.is_ok() {
                        self.oracle.acknowledges(waiting.sent)?;
                        self.answers.0 += 1;
                    } else {
                        self.answers.1 += 1;
                    }
                    // The answer may get lost on its way; some senders give up.
                    if self.dice.chance(if answer.is_ok() { 0.05 } else { 0.7 }) {
                        self.again.push_back(waiting.sent);
                    }
                }
            }
        }
        Ok(())
    }

    /// A group commit.
    pub fn write_log(&mut self) -> Result<(), Breach> {
        let process = self.process.as_mut().unwrap();
        if process.events.capacity() < 2 {
            return Ok(());
        }
        let heard = RefCell::new(Vec::new());
        process.writer.step(
            |records| heard.borrow_mut().push(Event::Committed(records)),
            |records| heard.borrow_mut().push(Event::Refused(records)),
        );
        let now = self.oracle.mark();
        let turned = self.turned.take().unwrap_or(now);
        let mark = |attachment: &Attachment, refused: &[(usize, Mark)]| {
            let known = refused.iter().find(|(of, _)| Some(*of) == address(attachment));
            known.map_or(turned, |(_, mark)| *mark)
        };
        for event in heard.into_inner() {
            match &event {
                Event::Committed(records) => {
                    note!(self.journal, "{} records from {} on", records.len(), records[0].position);
                    self.oracle.commits(&self.load, records, |a| mark(a, &self.refused))?;
                }
                Event::Refused(records) => {
                    note!(self.journal, "{} records refused: {}", records.len(), records[0].error);
                    for record in records {
                        let mark = mark(&record.attachment, &self.refused);
                        self.refused.extend(address(&record.attachment).map(|address| (address, mark)));
                    }
                }
                _ => {}
            }
            self.process().events.try_send(event).expect("there was room for two");
        }
        Ok(())
    }

    /// The sampler's loop takes some of its events.
    pub fn hear(&mut self) {
        for _ in 0..=self.dice.below(4) {
            if !self.hear_one() {
                return;
            }
        }
    }

    pub fn hear_one(&mut self) -> bool {
        let process = self.process.as_mut().unwrap();
        let Ok(event) = process.inbox.try_recv() else { return false };
        if let Event::Committed(records) = &event {
            self.oracle.hands_on(records);
        }
        process.decider.handle(event);
        true
    }

    pub fn turn(&mut self) {
        self.turned.get_or_insert(self.oracle.mark());
        self.process().decider.turn();
        let stats = self.process().decider.sampler.stats();
        note!(
            self.journal,
            "a turn: {} pending, {} kept, {} decisions",
            stats.pending_traces,
            stats.kept_traces_not_stored,
            stats.decisions
        );
    }

    /// The store's loop tries once to write its batch.
    pub fn store_batch(&mut self) {
        let now = self.machine.clock.monotonic();
        let process = self.process.as_mut().unwrap();
        if process.batch.is_none() {
            process.batch = process.batches.try_recv().ok().map(|batch| (batch, now));
        }
        let Some((batch, begun)) = process.batch.clone() else { return };
        if process.events.capacity() == 0 {
            return;
        }
        self.machine.objects.next_attempt();
        let outcome = self.runtime.block_on(process.storing.attempt(&batch, begun));
        let kind = outcome.as_ref().err().map(tracewell::store::StoreError::kind);
        note!(self.journal, "batch {} of {} traces: {kind:?}", batch.id, batch.traces.len());
        if outcome.is_ok() {
            process.batch = None;
        }
    }

    /// The checkpoint's thread writes what it was given, and the ledger's task what has gathered.
    pub fn keep_checkpoint(&mut self) {
        let process = self.process.as_mut().unwrap();
        let flushed = process.ledger.flush();
        note!(self.journal, "ledger of decisions flushed: {}", flushed.is_ok());
        let Ok(checkpoint) = process.to_keep.try_recv() else { return };
        let saved = process.keeping.keep(&checkpoint);
        note!(self.journal, "checkpoint, replay from {}: {}", checkpoint.replay_from, saved.is_ok());
    }

    /// The flight recorder writes an index.
    fn index(&mut self) {
        let did = self.process().recorder.step();
        note!(self.journal, "indexed: {did}");
    }

    /// Dropped traces that are to be kept after all are looked up.
    pub fn rescue(&mut self) {
        let process = self.process.as_mut().unwrap();
        if process.events.capacity() < 128 {
            return;
        }
        let Ok(wishes) = process.wishes.try_recv() else { return };
        self.runtime.block_on(process.rescuing.answer(&wishes));
        note!(self.journal, "{} rescues", wishes.len());
    }

    fn reload(&mut self) {
        self.rules = self.dice.below(3);
        let text = rules(self.rules);
        let process = self.process.as_ref().unwrap();
        let current = process.rulebook.current();
        if **current.text() != *text {
            // As the daemon does; if the disk does not take it, that is logged.
            let _ = process.history.keep(current.version() + 1, &text);
        }
        let version = process.rulebook.install(parse_rules(&text).unwrap());
        note!(self.journal, "rules {} are version {version}", self.rules);
    }
}
