//! Head sampling on the wire: spans of the share of traces that go on stay, with the threshold in their tracestate; the others
//! are cut out. Consistent: whoever has the same threshold chooses the same traces, so all agents agree, and what a gateway
//! samples of the rest is counted right.

use bytes::Bytes;

use crate::sample::probability::{
    PRECISION_DEFAULT, SamplingState, Threshold, ThresholdEdit, edit_tracestate,
};
use crate::wire::{Editor, Fields, TraceId, WireError, WireKind, offset_in, put_bytes_field};

/// The tracestate of a span.
const TRACE_STATE: u32 = 3;

/// Chooses traces by their randomness.
#[derive(Clone, Copy, Debug)]
pub struct HeadSampler(Threshold);

/// A request after head sampling.
#[derive(Debug, PartialEq, Eq)]
pub struct Sampled {
    /// What goes on: the buffer that came in if nothing changed.
    pub body: Bytes,
    /// Spans in it.
    pub kept: u64,
    /// Spans that were cut out.
    pub dropped: u64,
}

impl HeadSampler {
    /// A sampler that lets this share of the traces through, more than 0 and at most 1; `None` outside of that.
    pub fn new(share: f64) -> Option<Self> {
        Threshold::from_probability(share, PRECISION_DEFAULT).map(Self)
    }

    /// Samples a request. What was sampled before with a smaller share is not sampled again: the larger threshold of the two
    /// decides, and is written.
    ///
    /// # Errors
    /// If the body is not a request.
    pub fn apply(&self, body: Bytes) -> Result<Sampled, WireError> {
        let mut walk = Walk { threshold: self.0, editor: Editor::new(), body: &body, kept: 0, dropped: 0 };
        walk.messages(&body, 1, &mut |walk, of_resource| {
            walk.messages(of_resource, 2, &mut |walk, of_scope| walk.spans(of_scope))
        })?;
        let Walk { editor, kept, dropped, .. } = walk;
        Ok(Sampled { body: editor.finish(body.clone()), kept, dropped })
    }
}

struct Walk<'w> {
    threshold: Threshold,
    editor: Editor,
    body: &'w [u8],
    kept: u64,
    dropped: u64,
}

/// What a span says that matters here.
#[derive(Default)]
struct Facts<'w> {
    trace_id: &'w [u8],
    trace_state: &'w str,
}

type OnMessage<'a, 'w> = &'a mut dyn FnMut(&mut Walk<'w>, &'w [u8]) -> Result<(), WireError>;

impl<'w> Walk<'w> {
    /// Calls `inside` for each message of field `number`, and writes its length anew if something in it changes.
    fn messages(
        &mut self,
        message: &'w [u8],
        number: u32,
        inside: OnMessage<'_, 'w>,
    ) -> Result<(), WireError> {
        let base = offset_in(self.body, message);
        let mut fields = Fields::new(message);
        let mut start = base;
        while let Some(field) = fields.read()? {
            if let (true, WireKind::Bytes(content)) = (field.number == number, field.kind) {
                let content_start = offset_in(self.body, content);
                let frame = self.editor.open(number, start, content_start..content_start + content.len());
                inside(self, content)?;
                self.editor.close(frame);
            }
            start = base + fields.offset();
        }
        Ok(())
    }

    fn spans(&mut self, of_scope: &'w [u8]) -> Result<(), WireError> {
        let base = offset_in(self.body, of_scope);
        let mut fields = Fields::new(of_scope);
        let mut start = base;
        while let Some(field) = fields.read()? {
            let end = base + fields.offset();
            if let (2, WireKind::Bytes(span)) = (field.number, field.kind) {
                self.span(span, start..end)?;
            }
            start = end;
        }
        Ok(())
    }

    fn span(&mut self, span: &'w [u8], whole: std::ops::Range<usize>) -> Result<(), WireError> {
        let facts = facts(span)?;
        let state = SamplingState::parse(facts.trace_state);
        let of_id = TraceId::from_slice(facts.trace_id).map_or(0, |id| id.randomness());
        let randomness = state.randomness.unwrap_or(of_id);
        let threshold = self.threshold.equalize(state.threshold);
        if !threshold.keeps(randomness) {
            self.dropped += 1;
            self.editor.remove(whole);
            return Ok(());
        }
        self.kept += 1;
        let edited = edit_tracestate(facts.trace_state, ThresholdEdit::Raise(self.threshold));
        if edited != facts.trace_state {
            self.write_state(span, whole, edited.as_bytes())?;
        }
        Ok(())
    }

    /// Replaces the span's tracestate, wherever it is, and puts it at the end.
    fn write_state(
        &mut self,
        span: &'w [u8],
        whole: std::ops::Range<usize>,
        state: &[u8],
    ) -> Result<(), WireError> {
        let content = offset_in(self.body, span)..whole.end;
        let frame = self.editor.open(2, whole.start, content.clone());
        let mut fields = Fields::new(span);
        let mut start = content.start;
        while let Some(field) = fields.read()? {
            let end = content.start + fields.offset();
            if field.number == TRACE_STATE {
                self.editor.remove(start..end);
            }
            start = end;
        }
        self.editor.replace(whole.end..whole.end, |out| put_bytes_field(out, TRACE_STATE, state));
        self.editor.close(frame);
        Ok(())
    }
}

fn facts(span: &[u8]) -> Result<Facts<'_>, WireError> {
    let mut facts = Facts::default();
    let mut fields = Fields::new(span);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => facts.trace_id = field.bytes("span.trace_id")?,
            TRACE_STATE => facts.trace_state = field.text("span.trace_state")?,
            _ => {}
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests;
