//! Rates of tenants, and pages in browsers.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use proptest::prelude::*;
use prost::Message;

use super::peer::{channel, post, send};
use super::{Server, sample};
use crate::receive::rates::{Accounts, Metered, OverRate};
use crate::receive::{OriginPattern, Rate, Rates, Reason, ReceiveConfig, ReceiveStats};
use crate::runtime::Tenant;

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn spans(per_second: u64) -> Rates {
    let rate =
        Rate { spans_per_second: Some(per_second), bytes_per_second: None, burst: Duration::from_secs(2) };
    Rates { default: rate, ..Rates::default() }
}

#[test]
fn a_tenant_sends_its_burst_and_then_its_rate() {
    let accounts = Accounts::new(spans(10));
    let (one, two) = (Tenant::new("one").unwrap(), Tenant::new("two").unwrap());
    assert_eq!(accounts.may_send(&one, None, at(0.0)), Ok(()));
    accounts.sent(&one, 20, 1 << 20, at(0.0));
    assert_eq!(accounts.may_send(&one, None, at(0.0)), Ok(()), "nothing is owed yet");
    accounts.sent(&one, 5, 1 << 20, at(0.0));
    let over = accounts.may_send(&one, None, at(0.1)).unwrap_err();
    assert_eq!((over.what, over.retry_after), (Metered::Spans, Duration::from_millis(400)));
    assert_eq!(accounts.may_send(&two, None, at(0.1)), Ok(()), "it is nobody else's fault");
    assert_eq!(accounts.may_send(&one, None, at(0.51)), Ok(()));
}

#[test]
fn a_length_that_is_known_must_be_there_before_the_body_is_read() {
    let rate = Rate { bytes_per_second: Some(100), spans_per_second: None, burst: Duration::from_secs(1) };
    let own = Rate { bytes_per_second: Some(1000), ..rate };
    let rich = Tenant::new("rich").unwrap();
    let rates = Rates { default: rate, tenants: [(rich.clone(), own)].into() };
    let (accounts, poor) = (Accounts::new(rates), Tenant::default());
    accounts.sent(&poor, 0, 60, at(0.0));
    assert_eq!(accounts.may_send(&poor, Some(40), at(0.0)), Ok(()));
    let over = accounts.may_send(&poor, Some(50), at(0.0)).unwrap_err();
    assert_eq!((over.what, over.retry_after), (Metered::Bytes, Duration::from_millis(100)));
    // What is larger than the bucket goes when that is full, not never.
    assert!(accounts.may_send(&poor, Some(1000), at(0.3)).is_err());
    assert_eq!(accounts.may_send(&poor, Some(1000), at(0.6)), Ok(()));
    accounts.sent(&rich, 0, 60, at(0.0));
    assert_eq!(accounts.may_send(&rich, Some(900), at(0.0)), Ok(()));
}

proptest! {
    #[test]
    fn over_any_time_no_more_is_sent_than_burst_and_rate_and_one_request(
        steps in prop::collection::vec((0u32..3000, 1u64..50), 1..200),
    ) {
        let (accounts, tenant) = (Accounts::new(spans(10)), Tenant::default());
        let (mut now, mut sent, mut last) = (0.0, 0, 0);
        for (wait, spans) in steps {
            now += f64::from(wait) / 1000.0;
            match accounts.may_send(&tenant, None, at(now)) {
                Ok(()) => {
                    accounts.sent(&tenant, spans, 0, at(now));
                    sent += spans;
                    last = spans;
                }
                Err(OverRate { retry_after, .. }) => {
                    prop_assert!(accounts.may_send(&tenant, None, at(now) + retry_after + at(0.001)).is_ok());
                    now += retry_after.as_secs_f64() + 0.001;
                }
            }
            prop_assert!((sent - last.min(sent)) as f64 <= 20.0 + 10.0 * now + 0.1, "{sent} spans in {now} s");
        }
    }
}

#[tokio::test]
async fn over_its_rate_a_sender_is_told_when_to_come_back() {
    let config = ReceiveConfig { rates: spans(2), ..ReceiveConfig::default() };
    let server = Server::with(config).await;
    let body = sample(10).encode_to_vec();
    assert_eq!(post(server.http, PROTOBUF, &body).await.status, 200);
    let answer = post(server.http, PROTOBUF, &body).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3")));
    let mut client = TraceServiceClient::new(channel(server.grpc).await);
    let status = client.export(sample(1)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains("more spans than its limit"), "{status:?}");
    assert!(!status.details().is_empty(), "RetryInfo");
    assert_eq!(server.stats().refused(Reason::RateLimited), 2);
    assert_eq!(server.stats().over_rate(None), [(Tenant::default(), [2, 0])]);
    assert_eq!(server.stats().over_rate(Tenant::new("other").as_ref()), []);
    assert_eq!(server.bodies().len(), 1);
}

#[test]
fn only_so_many_tenants_are_told_apart_when_they_are_over_their_rates() {
    let stats = ReceiveStats::default();
    for number in 0..2000 {
        stats.count_over_rate(&Tenant::new(&format!("t{number}")).unwrap(), Metered::Bytes);
    }
    let first = Tenant::new("t0").unwrap();
    stats.count_over_rate(&first, Metered::Spans);
    assert_eq!(stats.over_rate(None).len(), 1000);
    assert_eq!(stats.over_rate(Some(&first)), [(first, [1, 1])]);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_and_others_may_not() {
    let cors_origins =
        ["https://shop.example", "https://*.example.com"].map(|o| OriginPattern::parse(o).unwrap());
    let server =
        Server::with(ReceiveConfig { cors_origins: cors_origins.to_vec(), ..ReceiveConfig::default() }).await;
    let preflight = async |origin: &str| {
        let head = format!(
            "OPTIONS /v1/traces HTTP/1.1\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type\r\n"
        );
        send(server.http, &head, b"").await
    };
    for origin in ["https://shop.example", "https://a.example.com", "https://a.b.example.com"] {
        let answer = preflight(origin).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(origin)));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        for header in ["content-type", "authorization", "content-encoding", "x-scope-orgid", "traceparent"] {
            assert!(allowed.contains(header), "{allowed}");
        }
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        let sent = post(server.http, &format!("{PROTOBUF}origin: {origin}\r\n"), b"\x0a\x00").await;
        assert_eq!((sent.status, sent.header("access-control-allow-origin")), (200, Some(origin)));
        assert_eq!(sent.header("vary"), Some("origin"));
    }
    for origin in [
        "https://example.com",
        "http://a.example.com",
        "https://evilexample.com",
        "null",
        "https://example.com.evil.net",
        "https://x@a.example.com",
        "https://a.example.com:8443",
    ] {
        let answer = preflight(origin).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None), "{origin}");
        assert_eq!(answer.header("access-control-allow-headers"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    // Without an origin it is no browser.
    assert_eq!(post(server.http, PROTOBUF, b"\x0a\x00").await.status, 200);
    assert_eq!(send(server.http, "OPTIONS /v1/traces HTTP/1.1\r\n", b"").await.status, 405);
    for wrong in [
        "shop.example",
        "https://",
        "https://*example.com",
        "https://a.*.com",
        "https://a.com/x",
        "https://*.",
    ] {
        assert!(OriginPattern::parse(wrong).is_err(), "{wrong}");
    }
}
