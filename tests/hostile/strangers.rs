//! Who does not belong, and what they try to slip into headers, answers and the log.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_costs_little_and_injects_nothing() {
    let mut world = World::new("");
    // Wrong tokens with bodies of the largest size: not read, not decompressed, not reserved.
    let body = vec![0; 8 * MIB];
    let sends = (0..20)
        .map(|n| world.post(if n % 2 == 0 { "tw_wrong" } else { "a.b.c" }, Some("gzip"), body.clone()));
    let (statuses, ()) = tokio::join!(futures::future::join_all(sends), world.others_are_served(1));
    assert!(statuses.iter().all(|status| [401, 0].contains(status)), "{statuses:?}");
    drop(body);
    // Another tenant's ids, and its name.
    let id = traffic::hex(&traffic::trace_id(1));
    for (header, expected) in [("", 403), ("good", 403), ("bad\u{e9}", 403), ("good,bad", 403)] {
        let mut request =
            world.client.get(format!("{}/api/traces/{id}", world.daemon.api)).bearer_auth(&world.bad);
        if !header.is_empty() {
            request = request.header("x-scope-orgid", header);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{header}");
    }
    let spans = traffic::request(traffic::trace(1, Shape::Plain, 1), "evil").encode_to_vec();
    let stolen = world.client.post(format!("{}/v1/traces", world.daemon.http)).bearer_auth(&world.bad);
    let stolen = stolen.header("content-type", "application/x-protobuf").header("x-scope-orgid", "good");
    assert_eq!(stolen.body(spans.clone()).send().await.unwrap().status(), 403);
    // The same id under its own tenant is another trace.
    assert_eq!(world.post(&world.bad, None, spans).await, 200);
    let found = world.client.get(format!("{}/api/traces/{id}", world.daemon.api)).bearer_auth(&world.good);
    assert!(!found.send().await.unwrap().text().await.unwrap().contains("evil"));

    // Lines in headers and paths end the request or are data; none becomes a header of an answer or a line of the log.
    for line in [
        "GET /nowhere%0d%0ax-injected:%201 HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-scope-orgid: a\rx-injected: 1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\nx-injected: 1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "GET /healthz\x1b[31m HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-scope-orgid: go\0od\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx\0-injected: 1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n x-injected: 1\r\n",
        "GET /healthz HTTP/1.1\nhost: x\nx-injected: 1\n",
        "GET /v1/traces?%0d%0ax-injected:1 HTTP/1.1\r\nhost: x\r\norigin: a\tx-injected: 1\r\n",
    ] {
        for url in [&world.daemon.http, &world.daemon.api] {
            let mut stream = world.connect(url).await;
            stream.write_all(format!("{line}connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{line}: not closed");
            let head =
                String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap_or_default().to_owned();
            assert!(!head.to_lowercase().contains("\nx-injected"), "{line}: {head}");
        }
    }
    // Headers without measure: each a little too long, and too many of them.
    let long = format!("x: {}\r\n", "y".repeat(300_000));
    let many: String = (0..30_000).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, headers) in [("one that is long", long), ("many", many)] {
        for url in [&world.daemon.http, &world.daemon.api, &world.daemon.grpc] {
            let mut stream = world.connect(url).await;
            let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{what} at {url}: not closed");
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{what} at {url}");
        }
    }
    // Two tenants in two headers are none.
    let spans = traffic::request(traffic::trace(3, Shape::Plain, 1), "two").encode_to_vec();
    let two = world.client.post(format!("{}/v1/traces", world.daemon.http)).bearer_auth(&world.bad);
    let two = two.header("x-scope-orgid", "bad").header("x-scope-orgid", "good");
    let two = two.header("content-type", "application/x-protobuf").body(spans).send().await.unwrap();
    assert_eq!(two.status(), 403);
    let logs = world.daemon.logs.lock().unwrap().join("\n");
    for secret in ["tw_wrong", &world.good, &world.bad, "\u{1b}"] {
        assert!(!logs.contains(secret), "{logs}");
    }
    let denied = logs.lines().filter(|line| line.contains("not let in")).count();
    assert!(denied <= 8, "{denied} lines about who was not let in");
    assert!(world.folder.path().join("credentials.yaml").exists());
    world.stays_within_its_memory();
}
