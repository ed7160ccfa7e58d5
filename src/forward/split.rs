//! Cuts a request into one for each gateway, on the wire: one walk over the framing, then spans are copied as slices.
//!
//! Spans next to each other that go to the same gateway are one slice; the framing of resource and scope is copied once for
//! each gateway that gets any of their spans. A request whose spans all go to one gateway is passed on as it is.

use std::ops::Range;

use bytes::Bytes;

use crate::wire::{Fields, TraceId, WireError, WireKind, offset_in, put_tag, put_varint, varint_len};

/// What one gateway gets of a request: an `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Who gets it: what the caller's `owner` said.
    pub owner: usize,
    /// The request.
    pub body: Bytes,
    /// Spans in it.
    pub spans: u32,
}

/// Spans next to each other that have one owner.
struct Run {
    owner: usize,
    /// The index of their scope.
    scope: usize,
    /// Where they are in the body, tags included.
    at: Range<usize>,
    spans: u32,
}

/// A message's fields that are not its repeated children: what everybody who gets any of the children gets too.
#[derive(Default)]
struct Framing(Vec<Range<usize>>);

impl Framing {
    fn add(&mut self, at: Range<usize>) {
        match self.0.last_mut() {
            Some(last) if last.end == at.start => last.end = at.end,
            _ => self.0.push(at),
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    fn copy(&self, body: &[u8], out: &mut Vec<u8>) {
        self.0.iter().for_each(|at| out.extend_from_slice(&body[at.clone()]));
    }
}

struct Scope {
    /// The index of its resource.
    resource: usize,
    framing: Framing,
}

/// Where everything is in a request.
#[derive(Default)]
struct Map {
    resources: Vec<Framing>,
    scopes: Vec<Scope>,
    runs: Vec<Run>,
}

/// Cuts a request by what `owner` says of each span's trace id. The parts come in the order of their owners; a request
/// without spans has none.
///
/// # Errors
/// If the body is not a request.
pub fn split(body: &Bytes, owner: impl FnMut(&[u8]) -> usize) -> Result<Vec<Part>, WireError> {
    let map = Map::read(body, by_trace(owner))?;
    let mut owners: Vec<usize> = map.runs.iter().map(|run| run.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    if let [owner] = owners[..] {
        let spans = map.runs.iter().map(|run| run.spans).sum();
        return Ok(vec![Part { owner, body: body.clone(), spans }]);
    }
    Ok(owners.into_iter().map(|owner| map.part(body, owner)).collect())
}

/// What of a request one gateway gets; `None` if nothing.
///
/// # Errors
/// If the body is not a request.
pub fn pick(body: &Bytes, mut is_mine: impl FnMut(&[u8]) -> bool) -> Result<Option<Part>, WireError> {
    let map = Map::read(body, by_trace(|trace_id| usize::from(!is_mine(trace_id))))?;
    if map.runs.iter().all(|run| run.owner == 0) {
        let spans: u32 = map.runs.iter().map(|run| run.spans).sum();
        return Ok((spans > 0).then(|| Part { owner: 0, body: body.clone(), spans }));
    }
    Ok(Some(map.part(body, 0)).filter(|part| part.spans > 0))
}

/// The same in pieces of about `bytes_max` bytes at most; a span that is larger is a piece of its own.
///
/// # Errors
/// If the body is not a request.
pub fn pick_pieces(
    body: &Bytes,
    mut is_mine: impl FnMut(&[u8]) -> bool,
    bytes_max: usize,
) -> Result<Vec<Part>, WireError> {
    const OTHERS: usize = usize::MAX;
    let mut is_mine = by_trace(|trace_id| usize::from(is_mine(trace_id)));
    let (mut piece, mut bytes) = (0, 0);
    let map = Map::read(body, |trace_id, at| {
        if is_mine(trace_id, at) == 0 {
            return OTHERS;
        }
        if bytes > 0 && bytes + at.len() > bytes_max {
            (piece, bytes) = (piece + 1, 0);
        }
        bytes += at.len();
        piece
    })?;
    if piece == 0 && map.runs.iter().all(|run| run.owner == 0) {
        let spans: u32 = map.runs.iter().map(|run| run.spans).sum();
        return Ok(if spans > 0 { vec![Part { owner: 0, body: body.clone(), spans }] } else { Vec::new() });
    }
    Ok((0..=piece).map(|piece| map.part(body, piece)).filter(|part| part.spans > 0).collect())
}

/// Who owns a span, asked once for spans of one trace that come one after the other, as they mostly do.
fn by_trace<'w>(mut owner: impl FnMut(&[u8]) -> usize) -> impl FnMut(&'w [u8], &Range<usize>) -> usize {
    let mut last: (&[u8], usize) = (&[], 0);
    move |trace_id, _| {
        if trace_id != last.0 || last.0.is_empty() {
            last = (trace_id, owner(trace_id));
        }
        last.1
    }
}

/// The traces that have spans in a request, each at least once.
///
/// # Errors
/// If the body is not a request.
pub fn trace_ids(body: &[u8]) -> Result<Vec<TraceId>, WireError> {
    let mut ids = Vec::new();
    let note = |id: &[u8]| {
        ids.extend(TraceId::from_slice(id));
        0
    };
    Map::read(body, by_trace(note))?;
    Ok(ids)
}

impl Map {
    /// `owner` is given each span's trace id, and where the span is.
    fn read<'w>(
        body: &'w [u8],
        mut owner: impl FnMut(&'w [u8], &Range<usize>) -> usize,
    ) -> Result<Self, WireError> {
        let mut map = Self::default();
        each_field(body, body, |number, content, _| match (number, content) {
            (1, Some(resource_spans)) => map.read_resource(body, resource_spans, &mut owner),
            // Not in the definition; nobody downstream would know it either.
            _ => Ok(()),
        })?;
        Ok(map)
    }

    fn read_resource<'w>(
        &mut self,
        body: &'w [u8],
        resource_spans: &'w [u8],
        owner: &mut impl FnMut(&'w [u8], &Range<usize>) -> usize,
    ) -> Result<(), WireError> {
        let resource = self.resources.len();
        self.resources.push(Framing::default());
        each_field(body, resource_spans, |number, content, at| match (number, content) {
            (2, Some(scope_spans)) => {
                self.scopes.push(Scope { resource, framing: Framing::default() });
                self.read_scope(body, scope_spans, owner)
            }
            _ => {
                self.resources[resource].add(at);
                Ok(())
            }
        })
    }

    fn read_scope<'w>(
        &mut self,
        body: &'w [u8],
        scope_spans: &'w [u8],
        owner: &mut impl FnMut(&'w [u8], &Range<usize>) -> usize,
    ) -> Result<(), WireError> {
        let scope = self.scopes.len() - 1;
        each_field(body, scope_spans, |number, content, at| {
            match (number, content) {
                (2, Some(span)) => {
                    let owner = owner(trace_id(span)?, &at);
                    self.add_span(scope, owner, at);
                }
                _ => self.scopes[scope].framing.add(at),
            }
            Ok(())
        })
    }

    #[inline]
    fn add_span(&mut self, scope: usize, owner: usize, at: Range<usize>) {
        match self.runs.last_mut() {
            Some(run) if run.owner == owner && run.scope == scope && run.at.end == at.start => {
                run.at.end = at.end;
                run.spans += 1;
            }
            _ => self.runs.push(Run { owner, scope, at, spans: 1 }),
        }
    }

    /// What `owner` gets.
    fn part(&self, body: &[u8], owner: usize) -> Part {
        let mut scope_bytes = vec![0; self.scopes.len()];
        let mut spans = 0;
        for run in self.runs.iter().filter(|run| run.owner == owner) {
            scope_bytes[run.scope] += run.at.len();
            spans += run.spans;
        }
        let mut resource_bytes = vec![0; self.resources.len()];
        for (scope, bytes) in self.scopes.iter().zip(&mut scope_bytes).filter(|(_, bytes)| **bytes > 0) {
            *bytes += scope.framing.len();
            resource_bytes[scope.resource] += field_len(*bytes);
        }
        for (framing, bytes) in self.resources.iter().zip(&mut resource_bytes).filter(|(_, b)| **b > 0) {
            *bytes += framing.len();
        }
        let whole = resource_bytes.iter().filter(|bytes| **bytes > 0).map(|bytes| field_len(*bytes)).sum();
        let mut out = Vec::with_capacity(whole);
        self.write(body, owner, &scope_bytes, &resource_bytes, &mut out);
        Part { owner, body: out.into(), spans }
    }

    fn write(
        &self,
        body: &[u8],
        owner: usize,
        scope_bytes: &[usize],
        resource_bytes: &[usize],
        out: &mut Vec<u8>,
    ) {
        let mut open = (usize::MAX, usize::MAX);
        for run in self.runs.iter().filter(|run| run.owner == owner) {
            let scope = &self.scopes[run.scope];
            if open.0 != scope.resource {
                put_header(out, 1, resource_bytes[scope.resource]);
                self.resources[scope.resource].copy(body, out);
            }
            if open.1 != run.scope {
                put_header(out, 2, scope_bytes[run.scope]);
                scope.framing.copy(body, out);
            }
            open = (scope.resource, run.scope);
            out.extend_from_slice(&body[run.at.clone()]);
        }
    }
}

/// The length of a nested message as a field, for a field number below 16.
fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

fn put_header(out: &mut Vec<u8>, number: u32, content: usize) {
    put_tag(out, number, 2);
    put_varint(out, content as u64);
}

/// The trace id as it lies in a span. Every exporter writes it first: then nothing else of the span is read.
#[inline]
fn trace_id(span: &[u8]) -> Result<&[u8], WireError> {
    if let [0x0a, 16, rest @ ..] = span
        && let Some(trace_id) = rest.get(..16)
    {
        return Ok(trace_id);
    }
    let mut found: &[u8] = &[];
    let mut fields = Fields::new(span);
    while let Some(field) = fields.read()? {
        if field.number == 1 {
            found = field.bytes("span.trace_id")?;
        }
    }
    Ok(found)
}

/// Calls `on_field` with the number of each field of a message inside `body`, its content if it is length-delimited, and
/// where it lies in `body`, tag included.
#[inline]
fn each_field<'w>(
    body: &[u8],
    message: &'w [u8],
    mut on_field: impl FnMut(u32, Option<&'w [u8]>, Range<usize>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let base = offset_in(body, message);
    let mut fields = Fields::new(message);
    let mut start = base;
    while let Some(field) = fields.read()? {
        let end = base + fields.offset();
        let content = match field.kind {
            WireKind::Bytes(content) => Some(content),
            _ => None,
        };
        on_field(field.number, content, start..end)?;
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
