//! Head sampling on the wire: spans of the share of traces that go on stay, with the threshold in their tracestate; the others
//! are cut out. Consistent: whoever has the same threshold chooses the same traces, so all agents agree, and what a gateway
//! samples of the rest is counted right.

use bytes::Bytes;

use super::fates::{Fate, edit_spans};
use crate::sample::probability::{PRECISION_DEFAULT, SamplingState, Threshold, ThresholdEdit};
use crate::wire::{TraceId, WireError};

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
        let (mut kept, mut dropped) = (0, 0);
        let body = edit_spans(body, &mut |span| {
            let state = SamplingState::parse(span.trace_state);
            let of_id = TraceId::from_slice(span.trace_id).map_or(0, |id| id.randomness());
            if !self.0.equalize(state.threshold).keeps(state.randomness.unwrap_or(of_id)) {
                dropped += 1;
                return Fate::Removed;
            }
            kept += 1;
            Fate::with_state(span.trace_state, ThresholdEdit::Raise(self.0))
        })?;
        Ok(Sampled { body, kept, dropped })
    }
}

#[cfg(test)]
mod tests;
