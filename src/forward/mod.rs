//! OTLP out: an agent's spans to the gateways that own their traces, kept spans to other backends.
//!
//! The log is the queue. Each receiver has a lane of its own, bounded in bytes; a lane whose receiver is slow or down falls
//! behind and goes on from the log later, and holds up nobody else. Spans are cut out of requests on the wire, never decoded.

pub mod answer;
pub mod backoff;
pub mod client;
pub mod compress;
pub mod epochs;
pub mod fates;
pub mod filter;
pub mod fleet;
pub mod head;
pub mod kept;
pub mod lane;
pub mod members;
pub mod post;
pub mod progress;
pub mod queue;
pub mod ring;
pub mod split;
pub mod state;
