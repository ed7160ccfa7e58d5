//! The addresses of a name, or the targets of an SRV record, asked of DNS anew each time: what is cached is stale.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::proto::rr::RData;

use crate::forward::ring::{Member, Ring};

/// What is asked for.
pub enum Question {
    /// Every address of the name is a member, at this port.
    Addresses(String, u16),
    /// Every target is one, at its own port.
    Services(String),
}

/// A name in DNS.
pub struct Dns {
    question: Question,
    resolver: Option<TokioResolver>,
}

impl Dns {
    /// A name, asked of the servers that the system names.
    pub fn new(question: Question) -> Self {
        Self { question, resolver: None }
    }

    /// The members now.
    pub(super) async fn look(&mut self) -> Result<Ring, String> {
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => self.resolver.insert(system_resolver()?).clone(),
        };
        match &self.question {
            Question::Addresses(name, port) => addresses(&resolver, name, *port).await,
            Question::Services(name) => services(&resolver, name).await,
        }
    }
}

fn system_resolver() -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| format!("DNS: {error}"))?;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| format!("DNS: {error}"))
}

async fn addresses(resolver: &TokioResolver, name: &str, port: u16) -> Result<Ring, String> {
    let found = resolver.lookup_ip(name).await.map_err(|error| format!("DNS: {name}: {error}"))?;
    let names = found.iter().map(|address| SocketAddr::new(address, port).to_string());
    Ok(Ring::new(names.map(|name| Member::new(&name))))
}

async fn services(resolver: &TokioResolver, name: &str) -> Result<Ring, String> {
    let found = resolver.srv_lookup(name).await.map_err(|error| format!("DNS: {name}: {error}"))?;
    let targets = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(format!("{}:{}", srv.target.to_utf8().trim_end_matches('.'), srv.port)),
        _ => None,
    });
    Ok(Ring::new(targets.map(|target| Member::new(&target))))
}

#[cfg(test)]
mod tests;
