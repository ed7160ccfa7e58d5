//! OTLP/gRPC. The framing is our own, so that a message stays one [`Bytes`] and every status is the one that OTLP
//! names; gRPC libraries answer an oversize message with a status that makes senders repeat it for ever.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::Code;

use super::decompress::Encoding;
use super::failure::Failure;
use super::reply::Reply;
use super::room::{Peer, Room};
use super::stats::Transport;
use super::{Accepted, Ingest, status};

const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// A `HealthCheckResponse` that says SERVING (`status`, field 1, is 1).
const SERVING: &[u8] = &[0x08, 0x01];
/// Other messages than spans are small.
const CALL_BYTES_MAX: usize = 4 << 20;
/// A health check names a service, no more.
const HEALTH_CHECK_BYTES_MAX: usize = 1024;

/// Answers one call.
pub(super) async fn answer<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Response<Reply>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    if !is_grpc(request.headers()) || request.method() != Method::POST {
        return not_grpc();
    }
    let result = match request.uri().path() {
        EXPORT => export(room, peer, request).await,
        HEALTH_CHECK => check_health(room, peer, request).await,
        _ => call(room, peer, request).await,
    };
    let mut response = match result {
        Ok(message) => success(&message),
        Err(failure) => trailers_only(&failure, room.config.retry_after),
    };
    room.ingest.announce(response.headers_mut());
    response
}

/// A method that only the next stage knows. Whoever may send a tenant's spans may call it for that tenant.
async fn call<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Result<Vec<u8>, Failure>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = request.into_parts();
    let path = head.uri.path();
    let encoding = Encoding::from_header(head.headers.get("grpc-encoding"));
    let arrival = room.arrived(Transport::Grpc, peer, head.headers).await?;
    let mut limits = room.limits.clone();
    limits.bytes_max = limits.bytes_max.min(CALL_BYTES_MAX);
    let message = limits.read_message(&mut body, encoding?, arrival.party()).await?;
    match room.ingest.call(path, arrival.tenant(), message.body.clone()).await {
        Some(answer) => Ok(answer?.to_vec()),
        None => {
            let message = format!("unknown method {path:.200}");
            Err(Failure::Protocol { code: Code::Unimplemented, message })
        }
    }
}

async fn export<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Result<Vec<u8>, Failure>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = request.into_parts();
    let result = async {
        let encoding = Encoding::from_header(head.headers.get("grpc-encoding"));
        let arrival = room.arrived(Transport::Grpc, peer, head.headers).await?;
        let inflated = room.limits.read_message(&mut body, encoding?, arrival.party()).await?;
        room.submit(inflated, arrival).await
    };
    let result = result.await;
    let accepted = room.counted(result)?;
    Ok(export_response(&accepted).encode_to_vec())
}

/// The success message; `partial_success` is unset when everything was taken without a word.
pub(super) fn export_response(accepted: &Accepted) -> ExportTraceServiceResponse {
    let partial = accepted.rejected_spans > 0 || !accepted.message.is_empty();
    let partial_success = partial.then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(accepted.rejected_spans).unwrap_or(i64::MAX),
        error_message: accepted.message.clone(),
    });
    ExportTraceServiceResponse { partial_success }
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

async fn check_health<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Result<Vec<u8>, Failure>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let mut body = request.into_body();
    let mut limits = room.limits.clone();
    limits.bytes_max = HEALTH_CHECK_BYTES_MAX;
    let party = room.party(peer, None);
    let message = limits.read_message(&mut body, Encoding::Identity, &party).await?;
    let asked = HealthCheckRequest::decode(message.body);
    let asked = asked.map_err(|error| Failure::malformed(error.to_string()))?;
    if asked.service.is_empty() || asked.service == SERVICE {
        return Ok(SERVING.to_vec());
    }
    Err(Failure::Protocol { code: Code::NotFound, message: "unknown service".into() })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/grpc")
        || media_type.eq_ignore_ascii_case("application/grpc+proto")
}

/// What gRPC prescribes for callers that do not speak it; for people, with the usual reason.
fn not_grpc() -> Response<Reply> {
    let mut response = Response::new(Reply::data(
        "this port speaks OTLP/gRPC; OTLP/HTTP has another one, by default 4318\n",
    ));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn success(message: &[u8]) -> Response<Reply> {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    with_content_type(Response::new(Reply::with_trailers(framed.freeze(), trailers)))
}

fn trailers_only(failure: &Failure, retry_after: std::time::Duration) -> Response<Reply> {
    let mut response = with_content_type(Response::new(Reply::default()));
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(failure.code() as i32));
    headers.insert("grpc-message", percent_encoded(&failure.message()));
    let details = STANDARD_NO_PAD.encode(status::to_protobuf(failure, retry_after));
    if let Ok(details) = HeaderValue::try_from(details) {
        headers.insert("grpc-status-details-bin", details);
    }
    match failure {
        Failure::Encoding(_) => {
            headers.insert("grpc-accept-encoding", HeaderValue::from_static(Encoding::ACCEPTED));
        }
        Failure::Denied { challenge, .. } if failure.code() == Code::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        _ => {}
    }
    response
}

fn with_content_type(mut response: Response<Reply>) -> Response<Reply> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// `grpc-message`: printable ASCII but the percent sign as it is, the rest as `%XX` ("gRPC over HTTP2", Responses).
fn percent_encoded(message: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes().take(1024) {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}
