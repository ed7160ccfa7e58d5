//! Asking a cloud's metadata service: plain HTTP to an address of the machine itself.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};

const CONNECT_TIME_MAX: Duration = Duration::from_millis(1000);
const ANSWER_TIME_MAX: Duration = Duration::from_millis(2000);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A client that follows nobody anywhere: what answers must be the service itself.
pub(super) fn client() -> Result<Client, String> {
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none());
    // There is no TLS here, and so no need of a system with certificates.
    let client = client.tls_certs_only([]).connect_timeout(CONNECT_TIME_MAX).timeout(ANSWER_TIME_MAX);
    client.build().map_err(|error| error.to_string())
}

/// The answer, if it is 200.
pub(super) async fn ask(request: RequestBuilder) -> Result<Response, String> {
    let response = request.send().await.map_err(explain)?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(format!("answers {status} to {}", response.url().path())),
    }
}

/// The answer's body, of bounded size.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(explain)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("answers with more than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The answer's body as text.
pub(super) async fn text_of(response: Response) -> Result<String, String> {
    let text =
        String::from_utf8(body(response).await?).map_err(|_| "answers with what is not UTF-8".to_owned())?;
    Ok(text.trim().to_owned())
}

fn explain(error: reqwest::Error) -> String {
    match error {
        error if error.is_timeout() => "does not answer in time".into(),
        error if error.is_connect() => "cannot be reached: is this the right cloud?".into(),
        error => error.without_url().to_string(),
    }
}

/// An endpoint as people write it, with a scheme and no slash at its end.
pub(super) fn endpoint(configured: Option<String>, default: &str) -> String {
    let endpoint = configured.unwrap_or_else(|| default.to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}
