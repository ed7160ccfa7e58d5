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
