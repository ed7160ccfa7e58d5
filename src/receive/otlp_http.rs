//! OTLP/HTTP: `POST /v1/traces` with protobuf or JSON. Answers, errors included, come in the request's own type.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use prost::Message;
use serde_json::json;

use super::body::Limits;
use super::decompress::{Encoding, Inflated};
use super::failure::Failure;
use super::otlp_grpc::export_response;
use super::reply::Reply;
use super::room::{Arrival, Peer, Room};
use super::stats::{Reason, Transport};
use super::{Accepted, Ingest, cors, json, status};

const PATH: &str = "/v1/traces";
/// More JSON than this would keep other requests waiting while it is converted.
const JSON_INLINE_BYTES_MAX: usize = 256 * 1024;
/// Read and thrown away of a body that is too large, in times the limit, so that its sender gets to read that, and does not
/// send it again.
const TOO_LARGE_TIMES_MAX: usize = 8;
/// Read and thrown away of the body of a sender who is not let in, so that it gets to read why.
const STRANGERS_BYTES_MAX: usize = 1024 * 1024;
const STRANGERS_TIME_MAX: Duration = Duration::from_secs(1);

/// The encodings of OTLP/HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MediaType {
    Protobuf,
    Json,
}

impl MediaType {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let value = String::from_utf8_lossy(value);
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => Err(Failure::MediaType(essence.chars().take(100).collect())),
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    fn transport(self) -> Transport {
        match self {
            Self::Protobuf => Transport::HttpProtobuf,
            Self::Json => Transport::HttpJson,
        }
    }
}

/// Answers one request, so that pages which may send can read the answer.
pub(super) async fn answer<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Response<Reply>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let origins = &room.config.cors_origins;
    if origins.is_empty() {
        return answer_anybody(room, peer, request).await;
    }
    let origin = cors::allowed(origins, request.headers());
    if request.uri().path() == PATH && cors::is_preflight(request.method(), request.headers()) {
        return cors::preflight(origin);
    }
    let mut response = answer_anybody(room, peer, request).await;
    cors::tell(&mut response, origin);
    response
}

async fn answer_anybody<I, B>(room: &Room<I>, peer: &Peer, request: Request<B>) -> Response<Reply>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let (mut head, mut body) = request.into_parts();
    let media_type = MediaType::of(&head.headers);
    // Such a sender waits for our answer before it sends anything.
    let waits = head.headers.contains_key(EXPECT);
    let result = match route(&head.method, head.uri.path()).and(media_type.clone()) {
        Ok(media_type) => {
            let headers = std::mem::take(&mut head.headers);
            export(room, media_type, peer, headers, &mut body).await
        }
        Err(failure) => Err(failure),
    };
    let result = room.counted(result);
    if let Err(failure) = &result
        && head.version < Version::HTTP_2
        && !waits
        && !matches!(failure.reason(), Reason::TimedOut | Reason::Disconnected)
    {
        let (bytes_max, time_max) = discarded(room, failure);
        room.limits.discard(&mut body, bytes_max, time_max).await;
    }
    // What we cannot read may be a person's attempt: JSON is readable by both.
    let media_type = media_type.unwrap_or(MediaType::Json);
    match result {
        Ok(accepted) => success(media_type, &accepted),
        Err(failure) => refused(media_type, &failure, room.config.retry_after),
    }
}

/// How much of a refused body is read on, and for how long: little of somebody's who does not belong here.
fn discarded<I>(room: &Room<I>, failure: &Failure) -> (usize, Duration) {
    let Limits { bytes_max, deadline, .. } = room.limits;
    match failure {
        Failure::Denied { .. } => (STRANGERS_BYTES_MAX.min(bytes_max), STRANGERS_TIME_MAX.min(deadline)),
        Failure::TooLarge { .. } => (bytes_max.saturating_mul(TOO_LARGE_TIMES_MAX), deadline),
        _ => (bytes_max, deadline),
    }
}

fn route(method: &Method, path: &str) -> Result<(), Failure> {
    if path != PATH {
        return Err(Failure::Path(path.chars().take(200).collect()));
    }
    if method != Method::POST {
        return Err(Failure::Method(method.to_string()));
    }
    Ok(())
}

async fn export<I, B>(
    room: &Room<I>,
    media_type: MediaType,
    peer: &Peer,
    headers: HeaderMap,
    body: &mut B,
) -> Result<Accepted, Failure>
where
    I: Ingest,
    B: Body<Data = Bytes> + Unpin,
{
    let encoding = Encoding::from_header(headers.get(CONTENT_ENCODING));
    let arrival = room.arrived(media_type.transport(), peer, headers).await?;
    let inflated = room.limits.read(body, encoding?, arrival.party()).await?;
    match media_type {
        MediaType::Protobuf => room.submit(inflated, arrival).await,
        MediaType::Json => export_json(room, inflated, arrival).await,
    }
}

async fn export_json<I: Ingest>(
    room: &Room<I>,
    mut inflated: Inflated,
    arrival: Arrival,
) -> Result<Accepted, Failure> {
    // The protobuf is never longer than the JSON; while it is written there are both.
    let json_bytes = inflated.permit.bytes();
    inflated.permit.grow_to(json_bytes + inflated.body.len())?;
    let (inflated, snake_case_keys) = if inflated.body.len() <= JSON_INLINE_BYTES_MAX {
        convert(inflated)?
    } else {
        let converted = room.tasks.spawn_blocking(|| convert(inflated)).await;
        converted.unwrap_or_else(|_| Err(Failure::malformed("this JSON cannot be read")))?
    };
    let mut accepted = room.submit(inflated, arrival).await?;
    if snake_case_keys > 0 {
        room.stats.count_json_snake_case_keys(snake_case_keys);
        if accepted.message.is_empty() {
            accepted.message =
                format!("{snake_case_keys} snake_case keys were ignored: OTLP/JSON has lowerCamelCase keys");
        }
    }
    Ok(accepted)
}

/// Puts protobuf in JSON's place, and says how many snake_case keys were ignored.
fn convert(mut inflated: Inflated) -> Result<(Inflated, u64), Failure> {
    let converted = json::to_protobuf(&inflated.body)
        .map_err(|error| Failure::Malformed { field: error.path, message: error.message })?;
    inflated.permit.shrink_to(converted.protobuf.capacity());
    inflated.body = Bytes::from(converted.protobuf);
    Ok((inflated, converted.snake_case_keys))
}

fn success(media_type: MediaType, accepted: &Accepted) -> Response<Reply> {
    let response = export_response(accepted);
    let body = match media_type {
        MediaType::Protobuf => response.encode_to_vec(),
        MediaType::Json => {
            // 64-bit integers are strings in protobuf's JSON.
            let body = response.partial_success.map_or(json!({}), |partial| {
                let rejected = partial.rejected_spans.to_string();
                json!({ "partialSuccess": { "rejectedSpans": rejected, "errorMessage": partial.error_message } })
            });
            body.to_string().into_bytes()
        }
    };
    with_type(media_type, body)
}

fn refused(media_type: MediaType, failure: &Failure, retry_after: std::time::Duration) -> Response<Reply> {
    let mut response = with_type(
        media_type,
        match media_type {
            MediaType::Protobuf => status::to_protobuf(failure, retry_after),
            MediaType::Json => status::to_json(failure, retry_after),
        },
    );
    *response.status_mut() = failure.http_status();
    let headers = response.headers_mut();
    if let Some(delay) = failure.retry_after(retry_after) {
        // Whole seconds, and not 0: that would be no hint at all.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    match failure {
        Failure::Method(_) => headers.insert(ALLOW, HeaderValue::from_static("POST")),
        Failure::Encoding(_) => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Encoding::ACCEPTED)),
        Failure::Denied { challenge, .. } if failure.http_status() == StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, challenge.clone())
        }
        _ => None,
    };
    response
}

fn with_type(media_type: MediaType, body: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(Reply::data(body));
    response.headers_mut().insert(CONTENT_TYPE, media_type.name());
    response
}
