//! An OTLP/HTTP client that posts raw bytes: HTTP/1.1, or HTTP/2 where TLS agrees on it, through a proxy where the environment
//! names one.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::Body;
use url::Url;

use super::client::Pieces;
use super::compress::Compression;

/// Answers are a few bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Makes the client that requests are sent by: again after one has failed, so that files that have changed count.
pub type MakeClient = Arc<dyn Fn() -> Result<reqwest::Client, String> + Send + Sync>;

/// Posts to one URL.
pub struct Poster {
    url: Url,
    compression: Compression,
    make: MakeClient,
    client: Mutex<Option<reqwest::Client>>,
}

/// What came back.
#[derive(Debug)]
pub struct Posted {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Poster {
    /// A poster. Contacts nothing.
    pub fn new(url: Url, compression: Compression, make: MakeClient) -> Self {
        Self { url, compression, make, client: Mutex::default() }
    }

    /// Posts the request that the pieces are together.
    ///
    /// # Errors
    /// Why there is no answer, in words. The server may have taken it all the same.
    pub async fn post(&self, headers: HeaderMap, pieces: &[Bytes]) -> Result<Posted, String> {
        let posted = self.answered(headers, pieces).await;
        if posted.is_err() {
            *self.client.lock() = None;
        }
        posted
    }

    async fn answered(&self, mut headers: HeaderMap, pieces: &[Bytes]) -> Result<Posted, String> {
        let compressed = self.compression.compress(pieces).map_err(|error| error.to_string())?;
        if let (Some(_), Some(name)) = (&compressed, self.compression.name()) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let body = Pieces::new(compressed.map_or_else(|| pieces.to_vec(), |whole| vec![whole]));
        let request = self.client()?.post(self.url.clone()).headers(headers).body(Body::wrap(body));
        let mut answer = request.send().await.map_err(reason)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reason)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Posted { status, headers, body: body.into() })
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        let mut client = self.client.lock();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        Ok(client.insert((self.make)()?).clone())
    }
}

/// The cause is only told when asked for. The URL is known.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
