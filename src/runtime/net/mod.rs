//! Sockets that are listened on: TCP, with TLS or without, and Unix sockets.

mod listener;
mod preface;
mod secured;
mod stream;
mod wrong_port;

#[cfg(test)]
mod tests;

pub use listener::{Connection, Incoming, Listener, ServerTls, TlsCounts};
pub use preface::{Http, Rewound, sniff};
pub use secured::Secured;
pub use stream::Stream;
