//! An S3 service in this process, over a folder, that can be made to fail in the ways that object stores do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::service::S3Service;
use tokio::sync::watch;

use super::Start;

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// As it should.
    Well,
    /// Every request gets this status, without being looked at.
    Refuses(u16),
    /// Every request is refused with these words.
    Says(&'static Refusal),
    /// Of each two writes, the first is done and its answer never arrives: the connection breaks.
    LosesAnswers,
    /// Writes wait until the mood changes, and are done then, whether the client is still there or not.
    Stalls,
}

/// A refusal as S3 has it.
#[derive(PartialEq, Eq, Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    /// Where the bucket is; in the answer's header, and in its body unless that is a redirection.
    pub region: Option<&'static str>,
}

impl Refusal {
    fn answer(&self) -> http::Response<s3s::Body> {
        let Self { status, code, region } = self;
        let mut response = http::Response::builder().status(*status);
        let mut body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message>");
        if let Some(region) = region {
            response = response.header("x-amz-bucket-region", *region);
            body.push_str(&format!("<Region>{region}</Region>"));
        }
        response.body(s3s::Body::from(body + "</Error>")).unwrap()
    }
}

/// The service.
#[derive(Clone)]
pub struct Bucket {
    pub endpoint: String,
    /// What is in the bucket `traces`.
    pub folder: PathBuf,
    mood: watch::Sender<Mood>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    writes: AtomicUsize,
    troubled: watch::Sender<usize>,
}

impl Bucket {
    /// Serves the bucket `traces` over a folder, on a port of its own.
    pub async fn serve(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("traces")).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single("access", "secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bucket = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            folder: folder.join("traces"),
            mood: watch::Sender::new(Mood::Well),
            counts: Arc::default(),
        };
        let serving = bucket.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, bucket) = (service.clone(), serving.clone());
                let answer = move |request| bucket.clone().answer(service.clone(), request);
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let stream = TokioIo::new(stream);
                    let _ = server.serve_connection(stream, hyper::service::service_fn(answer)).await;
                });
            }
        });
        bucket
    }

    /// Answers in this way from now on.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Waits until so many requests met trouble since the start.
    pub async fn troubled(&self, requests: usize) {
        let mut troubled = self.counts.troubled.subscribe();
        troubled.wait_for(|count| *count >= requests).await.unwrap();
    }

    async fn answer(
        self,
        service: S3Service,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<s3s::Body>, std::io::Error> {
        let is_write = request.method() == http::Method::PUT;
        let mood = *self.mood.borrow();
        let trouble = || self.counts.troubled.send_modify(|count| *count += 1);
        let whole = |request: http::Request<hyper::body::Incoming>| async {
            use http_body_util::BodyExt;
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            Ok::<_, std::io::Error>(http::Request::from_parts(head, s3s::Body::from(body)))
        };
        match mood {
            Mood::Refuses(status) => {
                trouble();
                let code = if status == 503 { "SlowDown" } else { "InternalError" };
                let body = format!(
                    "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>come back</Message></Error>"
                );
                Ok(http::Response::builder().status(status).body(s3s::Body::from(body)).unwrap())
            }
            Mood::Says(refusal) => {
                trouble();
                Ok(refusal.answer())
            }
            Mood::LosesAnswers if is_write => {
                let request = whole(request).await?;
                let answered = call(&service, request).await;
                if self.counts.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                    trouble();
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                answered
            }
            Mood::Stalls if is_write => {
                let request = whole(request).await?;
                trouble();
                let mut mood = self.mood.subscribe();
                let done_anyway = tokio::spawn(async move {
                    mood.wait_for(|mood| *mood != Mood::Stalls).await.map_err(std::io::Error::other)?;
                    call(&service, request).await
                });
                done_anyway.await.map_err(std::io::Error::other)?
            }
            _ => call(&service, request.map(s3s::Body::from)).await,
        }
    }

    /// A command that finds it.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = super::binary();
        command.args(args).envs(self.env()).stdin(std::process::Stdio::null());
        command
    }

    fn env(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "access".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    /// A daemon whose table is in it, under `production`.
    pub fn start(&self, data: &Path) -> Start {
        let mut start =
            self.env().iter().fold(Start::new(data), |start, (name, value)| start.env(name, value));
        start.store = Some("s3://traces/production".into());
        start
    }
}

async fn call(
    service: &S3Service,
    request: http::Request<s3s::Body>,
) -> Result<http::Response<s3s::Body>, std::io::Error> {
    service.call(request).await.map_err(|error| std::io::Error::other(format!("{error:?}")))
}
