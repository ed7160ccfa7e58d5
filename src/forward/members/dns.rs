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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, OpCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
    use hickory_resolver::proto::rr::{Name, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server over UDP that knows one name's addresses and one service.
    async fn serve(socket: UdpSocket) {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let query = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            answer.queries.push(query.clone());
            let record = |data| Record::from_rdata(query.name().clone(), 60, data);
            let target = |host: &str, port| RData::SRV(SRV::new(0, 0, port, Name::from_ascii(host).unwrap()));
            let data = match query.query_type() {
                RecordType::A => {
                    vec![RData::A(A(Ipv4Addr::new(10, 0, 0, 1))), RData::A(A(Ipv4Addr::new(10, 0, 0, 2)))]
                }
                RecordType::AAAA => vec![RData::AAAA(AAAA("fd00::1".parse().unwrap()))],
                RecordType::SRV => vec![target("gw-0.example.", 4317), target("gw-1.example.", 5317)],
                _ => vec![],
            };
            answer.add_answers(data.into_iter().map(record));
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    }

    async fn resolver() -> TokioResolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(serve(socket));
        let mut server = NameServerConfig::udp(address.ip());
        server.connections[0].port = address.port();
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build().unwrap()
    }

    #[tokio::test]
    async fn every_address_and_every_target_is_a_member() {
        let resolver = resolver().await;
        let expected = Ring::new(["10.0.0.1:4317", "10.0.0.2:4317", "[fd00::1]:4317"].map(Member::new));
        assert_eq!(addresses(&resolver, "gateways.example.", 4317).await, Ok(expected));
        let expected = Ring::new(["gw-0.example:4317", "gw-1.example:5317"].map(Member::new));
        assert_eq!(services(&resolver, "_otlp._tcp.example.").await, Ok(expected));
    }
}
