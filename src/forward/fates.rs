//! Goes through the spans of a request on the wire: some are cut out, some are given another tracestate, the others stay as they
//! are.

use std::borrow::Cow;

use bytes::Bytes;

use crate::sample::probability::{ThresholdEdit, edit_tracestate};
use crate::wire::{Editor, Fields, WireError, WireKind, offset_in, put_bytes_field};

/// The tracestate of a span.
const TRACE_STATE: u32 = 3;

/// What a span says that its fate hangs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFacts<'w> {
    /// As it lies in the span.
    pub trace_id: &'w [u8],
    /// The W3C tracestate; empty where there is none.
    pub trace_state: &'w str,
}

/// What becomes of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Unchanged,
    /// It is cut out.
    Removed,
    /// It gets this tracestate.
    State(String),
}

impl Fate {
    /// A span with this tracestate stays, and its `th` is edited.
    pub fn with_state(trace_state: &str, edit: ThresholdEdit) -> Self {
        match edit_tracestate(trace_state, edit) {
            Cow::Borrowed(_) => Self::Unchanged,
            Cow::Owned(edited) => Self::State(edited),
        }
    }
}

/// The request after each span has met its fate: the buffer that came in if nothing changed.
///
/// # Errors
/// If the body is not a request.
pub fn edit_spans(
    body: Bytes,
    fate: &mut dyn for<'w> FnMut(SpanFacts<'w>) -> Fate,
) -> Result<Bytes, WireError> {
    let mut walk = Walk { editor: Editor::new(), body: &body, fate };
    walk.messages(&body, 1, &mut |walk, of_resource| {
        walk.messages(of_resource, 2, &mut |walk, of_scope| walk.spans(of_scope))
    })?;
    Ok(walk.editor.finish(body.clone()))
}

struct Walk<'w, 'f> {
    editor: Editor,
    body: &'w [u8],
    fate: &'f mut dyn for<'s> FnMut(SpanFacts<'s>) -> Fate,
}

type OnMessage<'a, 'w, 'f> = &'a mut dyn FnMut(&mut Walk<'w, 'f>, &'w [u8]) -> Result<(), WireError>;

impl<'w, 'f> Walk<'w, 'f> {
    /// Calls `inside` for each message of field `number`, and writes its length anew if something in it changes.
    fn messages(
        &mut self,
        message: &'w [u8],
        number: u32,
        inside: OnMessage<'_, 'w, 'f>,
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
        match (self.fate)(facts(span)?) {
            Fate::Unchanged => Ok(()),
            Fate::Removed => {
                self.editor.remove(whole);
                Ok(())
            }
            Fate::State(state) => self.write_state(span, whole, state.as_bytes()),
        }
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

fn facts(span: &[u8]) -> Result<SpanFacts<'_>, WireError> {
    let mut facts = SpanFacts::default();
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
