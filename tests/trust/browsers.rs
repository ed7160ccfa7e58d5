//! Pages in browsers that send spans, as their SDKs do: a question beforehand without a credential, then the request.

use reqwest::{Method, Response, Version};

use super::credentials::{World, file, token, world};
use super::*;

const PAGE: &str = "https://shop.example";

/// What a browser asks before an SDK's request with a token, as Chrome writes it.
async fn preflight(world: &World, client: &reqwest::Client, origin: &str) -> Response {
    let request = client.request(Method::OPTIONS, format!("{}/v1/traces", world.daemon.http));
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,traceparent")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-site", "cross-site");
    request.send().await.unwrap()
}

/// The request itself.
async fn request(
    world: &World,
    client: &reqwest::Client,
    origin: &str,
    token: &str,
    number: u64,
) -> Response {
    let id = traffic::hex(&traffic::trace_id(number));
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"page"}}}}]}},
           "scopeSpans":[{{"spans":[{{"traceId":"{id}","spanId":"00f067aa0ba902b7","name":"click","kind":1}}]}}]}}]}}"#
    );
    let request = client.post(format!("{}/v1/traces", world.daemon.http)).bearer_auth(token);
    let request = request.header("origin", origin).header("content-type", "application/json");
    request.body(body).send().await.unwrap()
}

fn header<'r>(answer: &'r Response, name: &str) -> Option<&'r str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

/// None of the headers that let a page read an answer.
fn says_nothing(answer: &Response) {
    let said = answer.headers().keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(said, None);
    assert_eq!(header(answer, "vary"), Some("origin"), "caches must not mix pages up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_listed_origin_sends_and_reads_every_answer_and_another_none() {
    let (good, entry) = token(&["--name", "page", "--scope", "write", "--scope", "read"]);
    let rest = "receive: { cors: { origins: [https://shop.example, 'https://*.example.com'] } }\n\
                limits: { default: { spans_per_second: 1, burst: 2s } }\n";
    let world = world(&file(&[&entry]), rest);
    let two = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for (client, version) in [(&world.client, Version::HTTP_11), (&two, Version::HTTP_2)] {
        for origin in [PAGE, "https://a.b.example.com"] {
            // No browser shows a credential in this question: who asks for one shuts all pages out.
            let asked = preflight(&world, client, origin).await;
            assert_eq!((asked.version(), asked.status().as_u16()), (version, 204));
            assert_eq!(header(&asked, "access-control-allow-origin"), Some(origin));
            assert!(header(&asked, "access-control-allow-methods").unwrap().contains("POST"));
            let allowed = header(&asked, "access-control-allow-headers").unwrap();
            for name in ["authorization", "content-type", "traceparent"] {
                assert!(allowed.split(", ").any(|header| header == name), "{name}: {allowed}");
            }
            assert!(header(&asked, "access-control-max-age").unwrap().parse::<u32>().unwrap() > 0);
            // Cookies are nobody's credential here.
            assert_eq!(header(&asked, "access-control-allow-credentials"), None);
        }
        for origin in ["https://shop.example.evil", "http://shop.example", "https://example.com", "null"] {
            let asked = preflight(&world, client, origin).await;
            assert_eq!(asked.status(), 204, "{origin}");
            says_nothing(&asked);
        }
    }
    let sent = request(&world, &two, PAGE, &good, 1).await;
    assert_eq!((sent.status().as_u16(), header(&sent, "access-control-allow-origin")), (200, Some(PAGE)));
    assert_eq!(header(&sent, "vary"), Some("origin"));
    let trace = format!("/api/traces/{}", traffic::hex(&traffic::trace_id(1)));
    assert_eq!(world.ask(&trace, &good).await.0, 200);

    // A page reads refusals too, and when to come back.
    let stranger = request(&world, &world.client, PAGE, "tw_no", 2).await;
    assert_eq!(
        (stranger.status().as_u16(), header(&stranger, "access-control-allow-origin")),
        (401, Some(PAGE))
    );
    let mut over = request(&world, &world.client, PAGE, &good, 3).await;
    for number in 4..20 {
        if over.status() == 429 {
            break;
        }
        over = request(&world, &world.client, PAGE, &good, number).await;
    }
    assert_eq!((over.status().as_u16(), header(&over, "access-control-allow-origin")), (429, Some(PAGE)));
    assert_eq!(header(&over, "access-control-expose-headers"), Some("retry-after"));
    assert!(header(&over, "retry-after").is_some());

    // What another page's script sends anyway is as a program's: it needs a token, and its page reads nothing.
    let other = request(&world, &world.client, "https://evil.example", "tw_no", 30).await;
    assert_eq!(other.status(), 401);
    says_nothing(&other);
    // Only the path of spans is for pages.
    let elsewhere = world.client.request(Method::OPTIONS, format!("{}/v1/metrics", world.daemon.http));
    let elsewhere = elsewhere.header("origin", PAGE).header("access-control-request-method", "POST");
    assert_eq!(elsewhere.send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_origins_no_page_is_told_anything() {
    let (good, entry) = token(&["--name", "page", "--scope", "write"]);
    let world = world(&file(&[&entry]), "");
    let asked = preflight(&world, &world.client, PAGE).await;
    assert_eq!(asked.status(), 405);
    let sent = request(&world, &world.client, PAGE, &good, 1).await;
    assert_eq!(sent.status(), 200);
    for answer in [asked, sent] {
        assert_eq!((header(&answer, "access-control-allow-origin"), header(&answer, "vary")), (None, None));
    }
}
