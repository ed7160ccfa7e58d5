//! Bodies that are more than they look like, or less than they say.

use std::io::Write;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy_framed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

/// Sends one message over gRPC, compressed as named, with this length in its prefix; gRPC's status, none where it was cut off.
async fn call(
    world: &World,
    client: &reqwest::Client,
    encoding: &str,
    length: u32,
    message: &[u8],
) -> Option<i32> {
    let framed = [&[u8::from(encoding != "identity")], &length.to_be_bytes()[..], message].concat();
    let url = format!("{}/opentelemetry.proto.collector.trace.v1.TraceService/Export", world.daemon.grpc);
    let request = client.post(url).bearer_auth(&world.bad).header("content-type", "application/grpc");
    let answer =
        request.header("te", "trailers").header("grpc-encoding", encoding).body(framed).send().await.ok()?;
    // A refusal is headers alone.
    answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().parse().unwrap())
}

const RESOURCE_EXHAUSTED: i32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn bombs_of_one_tenant_do_not_starve_another() {
    bombs_are_cut_off(World::new("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_over_tls_do_not_starve_another_tenant() {
    bombs_are_cut_off(World::secured("")).await;
}

async fn bombs_are_cut_off(mut world: World) {
    let zeros = vec![0; 256 * MIB];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", deflate(&zeros)),
        ("zstd", zstd::encode_all(&zeros[..], 1).unwrap()),
        ("snappy", snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
        ("snappy", snappy_framed(&zeros)),
    ];
    drop(zeros);
    let h2 = match &world.ca {
        None => reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap(),
        Some(_) => world.client.clone(),
    };
    for (number, (encoding, bomb)) in bombs.into_iter().enumerate() {
        let sends = (0..6).map(|_| world.post(&world.bad, Some(encoding), bomb.clone()));
        let others = world.others_are_served(number as u64);
        let (statuses, ()) = tokio::join!(futures::future::join_all(sends), others);
        // Too large, no room for it now, or cut off while it was still sending.
        assert!(statuses.iter().all(|status| [413, 503, 0].contains(status)), "{encoding}: {statuses:?}");
        let alone = world.post(&world.bad, Some(encoding), bomb.clone()).await;
        assert!([413, 0].contains(&alone), "{encoding}: {alone}");
        let over_grpc = call(&world, &h2, encoding, bomb.len() as u32, &bomb).await;
        assert!([None, Some(RESOURCE_EXHAUSTED)].contains(&over_grpc), "{encoding}: {over_grpc:?}");
    }
    world.stays_within_its_memory();
}

/// A zstd frame (RFC 8878, section 3.1.1) of one empty last block that claims a window or a content of this size.
fn zstd_claiming(descriptor: u8, fields: &[u8]) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, descriptor], fields, &[0x01, 0x00, 0x00]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_are_refused_and_cost_nothing() {
    let mut world = World::new("");
    let request = traffic::request(traffic::trace(1, Shape::Plain, 50), "shop").encode_to_vec();
    let varint = |n: u64| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(n, &mut out);
        out
    };
    let mut wrong_length = gzip(&request);
    let end = wrong_length.len();
    wrong_length[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut chunk = b"\xff\x06\x00\x00sNaPpY".to_vec();
    chunk.extend([0x00, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    for (what, encoding, body, expected) in [
        ("4 GiB in a snappy block of nothing", "snappy", varint(u64::from(u32::MAX)), [413, 413]),
        (
            "4 MiB in a snappy block of a few bytes",
            "snappy",
            [varint(4 << 20), vec![0; 9]].concat(),
            [400, 400],
        ),
        (
            "a snappy block that ends early",
            "snappy",
            snap::raw::Encoder::new().compress_vec(&request).unwrap()[..80].to_vec(),
            [400, 400],
        ),
        ("16 MiB in a snappy chunk", "snappy", chunk, [400, 400]),
        ("a gzip trailer of 4 GiB", "gzip", wrong_length, [400, 400]),
        ("2000 empty gzip files", "gzip", gzip(b"").repeat(2000), [400, 400]),
        ("gzip in gzip", "gzip", gzip(&gzip(&request)), [400, 400]),
        ("gzip, gzip", "gzip, gzip", gzip(&gzip(&request)), [415, 415]),
        (
            "a zstd content of 2^63 bytes",
            "zstd",
            zstd_claiming(0xe0, &(1u64 << 63).to_le_bytes()),
            [400, 413],
        ),
        ("a zstd window of 2 TiB", "zstd", zstd_claiming(0x00, &[0xf8]), [400, 413]),
        (
            "protobuf that is longer inside than outside",
            "identity",
            [vec![0x0a], varint(1 << 40), vec![0; 20]].concat(),
            [400, 400],
        ),
        ("protobuf of 2^64 - 1 bytes", "identity", [vec![0x0a], varint(u64::MAX)].concat(), [400, 400]),
    ] {
        let status = world.post(&world.bad, Some(encoding), body).await;
        assert!(expected.contains(&status), "{what}: {status}");
    }
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let status = call(&world, &h2, "identity", u32::MAX, b"abc").await;
    assert_eq!(status, Some(RESOURCE_EXHAUSTED), "4 GiB in gRPC's prefix");
    let status = call(&world, &h2, "identity", 1 << 20, b"abc").await;
    assert_eq!(status, Some(3), "1 MiB in gRPC's prefix, and three bytes");
    let status = call(&world, &h2, "identity", 1, &request).await;
    assert_eq!(status, Some(12), "one byte in gRPC's prefix, and many");
    // Nothing of it is held, and nothing of it was taken.
    let status = world.client.get(format!("{}/status", world.daemon.api)).send().await.unwrap();
    let status: serde_json::Value = status.json().await.unwrap();
    assert_eq!(status["receive"]["budget_used_bytes"], 0, "{}", status["receive"]);
    assert_eq!(status["log"]["records"], 0, "{}", status["log"]);
    let most = world.daemon.resident_mib_max();
    assert!(most < MEMORY_MIB, "{most} MiB resident");
    world.others_are_served(2).await;
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_with_a_million_attributes_and_a_trace_with_a_million_spans_are_taken_or_refused() {
    let mut world = World::new("");
    let mut span = traffic::trace(7, Shape::Plain, 1).remove(0);
    span.attributes = (0..1_000_000).map(|n| traffic::attribute("a", Any::IntValue(n))).collect();
    let tiny: ExportTraceServiceRequest = traffic::request(vec![span], "tiny");
    let status =
        world.post(&world.bad, Some("zstd"), zstd::encode_all(&tiny.encode_to_vec()[..], 1).unwrap()).await;
    assert!([200, 413, 503].contains(&status), "{status}");
    drop(tiny);
    world.others_are_served(1).await;
    let began = Instant::now();
    for part in 0..200u64 {
        let mut spans = vec![traffic::trace(9, Shape::Plain, 1).remove(0); 5_000];
        for (n, span) in spans.iter_mut().enumerate() {
            span.span_id = traffic::mix(part * 5_000 + n as u64).to_be_bytes().to_vec();
        }
        let body = traffic::request(spans, "giant").encode_to_vec();
        while world.post(&world.bad, None, body.clone()).await == 503 {
            assert!(began.elapsed() < Duration::from_secs(120));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    world.others_are_served(2).await;
    world.stays_within_its_memory();
}
