//! What a request says of its sender, for actions that put it on attributes.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::wire::{AnyView, put_any};

/// Who sent a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sender<'a> {
    /// The address of the connection's other end, where there is one.
    pub client: Option<IpAddr>,
    /// The request's headers. Only those are looked at that an action names.
    pub headers: Option<&'a HeaderMap>,
}

/// The most bytes of a header's value that become an attribute's.
const HEADER_BYTES_MAX: usize = 1024;

/// What actions want to know of senders.
#[derive(Debug, Default)]
pub(super) struct SenderKeys {
    client: bool,
    headers: Vec<HeaderName>,
}

/// One thing that an action wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) enum SenderKey {
    Client,
    Header(usize),
}

/// What one sender says, as encoded `AnyValue`s.
#[derive(Debug, Default)]
pub(super) struct SenderValues {
    address: Option<IpAddr>,
    client: Option<Vec<u8>>,
    headers: Vec<Option<Vec<u8>>>,
}

impl SenderKeys {
    /// The sender's address is wanted.
    pub(super) fn client(&mut self) -> SenderKey {
        self.client = true;
        SenderKey::Client
    }

    /// This header is wanted.
    pub(super) fn header(&mut self, name: &HeaderName) -> SenderKey {
        let known = self.headers.iter().position(|known| known == name);
        SenderKey::Header(known.unwrap_or_else(|| {
            self.headers.push(name.clone());
            self.headers.len() - 1
        }))
    }

    /// What this sender says.
    pub(super) fn ask(&self, sender: Sender<'_>) -> SenderValues {
        let client = sender.client.filter(|_| self.client);
        let header = |name| {
            let value = sender.headers?.get(name)?.to_str().ok()?;
            Some(text(&value[..value.floor_char_boundary(HEADER_BYTES_MAX)]))
        };
        SenderValues {
            address: sender.client,
            client: client.map(|address| text(&address.to_canonical().to_string())),
            headers: self.headers.iter().map(header).collect(),
        }
    }
}

impl SenderValues {
    /// The sender's address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The value asked for, if there is one.
    pub(super) fn get(&self, key: SenderKey) -> Option<&[u8]> {
        match key {
            SenderKey::Client => self.client.as_deref(),
            SenderKey::Header(index) => self.headers.get(index)?.as_deref(),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut any = Vec::new();
    put_any(&mut any, AnyView::Str(text));
    any
}
