//! TLS: PEM files → rustls configurations, for listeners and for clients.
//!
//! Nothing here listens, connects or watches. Files come in as [`Pem`] texts, so that who reloads can compare them; what
//! cannot work is found here, before it comes into force.

mod client;
mod listen;
mod material;
mod revocation;

#[cfg(test)]
mod tests;

pub use client::{ClientFiles, client_config};
pub use listen::{ClientAuth, MinVersion, ServerFiles, ServerIdentity, server_identity};
pub use material::{Pem, TlsError, Validity, validity};

/// What both versions of HTTP are called in ALPN (RFC 7301), the preferred one first.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
