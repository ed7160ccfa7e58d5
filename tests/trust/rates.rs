//! Limits of tenants: who sends more is told when to come back, over each way in, and nobody else notices.

use std::io::Write;

use super::credentials::{World, file, token, world};
use super::support::rpc::retry_delay;
use super::*;

/// Tokens of the tenants `spans` (ten a second), `bytes` (4 KiB a second) and `free`.
struct Three {
    world: World,
    spans: String,
    bytes: String,
    free: String,
}

fn three() -> Three {
    let of = |tenant| token(&["--name", tenant, "--tenant", tenant, "--scope", "write", "--scope", "read"]);
    let ((spans, a), (bytes, b), (free, c)) = (of("spans"), of("bytes"), of("free"));
    let limits = "limits: { tenants: { spans: { spans_per_second: 10, burst: 2s }, \
                  bytes: { bytes_per_second: 4KiB, burst: 1s } } }\n";
    Three { world: world(&file(&[&a, &b, &c]), limits), spans, bytes, free }
}

impl Three {
    async fn post(
        &self,
        token: &str,
        content_type: &str,
        encoding: &str,
        body: Vec<u8>,
    ) -> reqwest::Response {
        let request =
            self.world.client.post(format!("{}/v1/traces", self.world.daemon.http)).bearer_auth(token);
        let request = request.header("content-type", content_type).header("content-encoding", encoding);
        request.body(body).send().await.unwrap()
    }

    async fn post_spans(&self, token: &str, number: u64, spans: usize) -> reqwest::Response {
        let body = traffic::request(traffic::trace(number, Shape::Plain, spans), "shop").encode_to_vec();
        self.post(token, "application/x-protobuf", "identity", body).await
    }

    async fn nobody_else_notices(&self, number: u64) {
        for number in number..number + 5 {
            assert_eq!(self.post_spans(&self.free, number, 50).await.status(), 200);
        }
        self.world.send_grpc(number + 5, &self.free).await.unwrap();
    }
}

fn retry_after(answer: &reqwest::Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_its_spans_a_second_a_tenant_is_told_when_to_come_back_and_is_let_in_then() {
    let three = three();
    // Its burst at once, and one request that goes below zero: by 80 spans.
    for number in 0..4 {
        assert_eq!(three.post_spans(&three.spans, number, 5).await.status(), 200, "within the burst");
    }
    assert_eq!(three.post_spans(&three.spans, 4, 80).await.status(), 200);

    let over = three.post_spans(&three.spans, 5, 1).await;
    let seconds = retry_after(&over);
    assert_eq!(over.status(), 429);
    assert!((1..=8).contains(&seconds), "{seconds} s to make up for 80 spans");
    let delay = retry_delay(&over.bytes().await.unwrap()).expect("RetryInfo");
    assert_eq!(delay.as_secs() + u64::from(delay.subsec_nanos() > 0), seconds, "both say the same");

    let json = three.post(&three.spans, "application/json", "identity", b"{}".to_vec()).await;
    assert_eq!(
        (json.status().as_u16(), json.headers()["content-type"].to_str().unwrap()),
        (429, "application/json")
    );
    let says = super::json(&json.text().await.unwrap());
    let info = &says["details"][0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.RetryInfo", "{says}");
    assert!(info["retryDelay"].as_str().unwrap().ends_with('s'), "{says}");
    assert!(
        says["message"].as_str().unwrap().contains("tenant spans sends more spans than its limit"),
        "{says}"
    );

    let status = three.world.send_grpc(6, &three.spans).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let delay = retry_delay(status.details()).expect("RetryInfo");
    assert!(!delay.is_zero() && delay <= Duration::from_secs(8), "{delay:?}");
    three.nobody_else_notices(100).await;

    tokio::time::sleep(delay + Duration::from_millis(50)).await;
    assert_eq!(three.post_spans(&three.spans, 7, 1).await.status(), 200, "as it was told");

    // Refused is not received: what was told to come back is in nobody's account but counted, with what there was too much of.
    eventually("the ledger of losses has what was let in", async || {
        let losses = super::json(&three.world.ask("/status", &three.spans).await.1)["losses"].clone();
        losses["spans"]["received"] == 20 + 80 + 1
    })
    .await;
    let status = super::json(&three.world.ask("/status", &three.spans).await.1);
    assert_eq!(status["receive"]["refused"]["rate_limited"], 3, "{status}");
    assert_eq!(status["receive"]["over_rate"], super::json(r#"{"spans":{"spans":3,"bytes":0}}"#));
    let others = super::json(&three.world.ask("/status", &three.free).await.1);
    assert_eq!(
        others["receive"]["over_rate"],
        super::json("{}"),
        "whose limits are met is nobody else's business"
    );
    let metrics = three.world.ask("/metrics", &three.spans).await.1;
    let line = "tracewell_receive_over_rate_total{tenant=\"spans\",what=\"spans\"} 3";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_a_second_are_those_behind_the_compression() {
    let three = three();
    let mut spans = traffic::trace(1, Shape::Plain, 1);
    spans[0].attributes.push(traffic::text("zeros", &"0".repeat(40_000)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&traffic::request(spans, "shop").encode_to_vec()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < 1000, "{} bytes on the wire", gzip.len());
    let post = async || three.post(&three.bytes, "application/x-protobuf", "gzip", gzip.clone()).await;
    assert_eq!(post().await.status(), 200, "larger than the bucket: let in when that is full");
    let over = post().await;
    assert_eq!(over.status(), 429);
    let seconds = retry_after(&over);
    assert!((2..=11).contains(&seconds), "{seconds} s to make up for 40 000 bytes at 4 KiB a second");
    let message = three.world.send_grpc(2, &three.bytes).await.unwrap_err();
    assert!(message.message().contains("more bytes than its limit"), "{message:?}");
    three.nobody_else_notices(200).await;
    let status = super::json(&three.world.ask("/status", &three.bytes).await.1);
    assert_eq!(status["receive"]["over_rate"], super::json(r#"{"bytes":{"spans":0,"bytes":2}}"#));
}
