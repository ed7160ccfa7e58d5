//! What can go wrong at the store, as the caller must act on it.

use std::borrow::Cow;
use std::fmt;

use delta_kernel::KernelError;
use object_store::path::Path;
use parquet::errors::ParquetError;

/// What the caller does about a [`StoreError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Overload, time-out, lost connection, contention: the same call later may succeed.
    Transient,
    /// The bucket or container is not there.
    BucketMissing,
    /// The store knows us, and says no.
    Forbidden,
    /// No credentials, or credentials that are not valid (any more).
    Unauthenticated,
    /// The store's URL or configuration cannot be used.
    Configuration,
    /// The table is damaged, foreign or of a version that cannot be read.
    Table,
    /// A record that the batch names cannot be read from the log, or is not what it was when it was accepted.
    Record,
    /// A mistake in this program.
    Internal,
}

/// An error of the store: what to do about it ([`Self::kind`]) and words for people.
#[derive(Debug)]
pub struct StoreError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error caused by another.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Transient
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}

impl StoreError {
    /// An object store's error, by what the caller can do about it.
    pub(super) fn of_objects(what: &str, error: object_store::Error) -> Self {
        let (kind, why) = kind_of_objects(&error);
        let message = match why {
            Some(why) => format!("{what}: {why}"),
            None => format!("{what}: {error}"),
        };
        Self::caused(kind, message, error)
    }

    /// The Delta library's error, by what the caller can do about it.
    pub(super) fn of_kernel(what: &str, error: KernelError) -> Self {
        match error {
            KernelError::Backtraced { source, .. } => Self::of_kernel(what, *source),
            KernelError::ObjectStore(error) => Self::of_objects(what, error),
            error @ (KernelError::IOError(_) | KernelError::Reqwest(_) | KernelError::FileNotFound(_)) => {
                Self::caused(ErrorKind::Transient, format!("{what}: {error}"), error)
            }
            error => Self::caused(ErrorKind::Table, format!("{what}: {error}"), error),
        }
    }

    /// A Parquet file that cannot be read.
    pub(super) fn of_parquet(path: &Path, error: ParquetError) -> Self {
        let what = format!("cannot read {path}");
        match error {
            ParquetError::External(error) => match error.downcast::<object_store::Error>() {
                Ok(error) => Self::of_objects(&what, *error),
                Err(error) => Self::caused(ErrorKind::Transient, format!("{what}: {error}"), error),
            },
            error => Self::caused(ErrorKind::Table, format!("{what}: {error}"), error),
        }
    }
}

/// The kind, and clearer words than the library's where we have them.
fn kind_of_objects(error: &object_store::Error) -> (ErrorKind, Option<Cow<'static, str>>) {
    const NO_BUCKET: &str = "the bucket is not there";
    const FORBIDDEN: &str =
        "the credentials have no right to do this (s3:ListBucket, GetObject, PutObject, DeleteObject)";
    const NO_CREDENTIALS: &str = "no credentials found (environment, web identity, instance metadata)";
    const BAD_CREDENTIALS: &str = "the credentials are not valid, or have expired";
    const EXPIRED: &str = "the credentials have expired: a role (web identity, instance metadata) gets new ones by itself, \
         keys in the environment have to be replaced and the program restarted";
    const WRONG_CLOCK: &str = "this machine's clock is more than 15 minutes away from the store's: set it";
    // S3's error codes are only in the text that the server sent.
    let text = error.to_string();
    let says = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
    if says(&["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]) {
        return (ErrorKind::BucketMissing, Some(NO_BUCKET.into()));
    }
    if is_in_other_region(error) {
        return (ErrorKind::Configuration, Some(other_region(region_in(&text))));
    }
    if says(&["ExpiredToken", "TokenRefreshRequired"]) {
        return (ErrorKind::Unauthenticated, Some(EXPIRED.into()));
    }
    if says(&["RequestTimeTooSkewed"]) {
        return (ErrorKind::Unauthenticated, Some(WRONG_CLOCK.into()));
    }
    if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"]) {
        return (ErrorKind::Unauthenticated, Some(BAD_CREDENTIALS.into()));
    }
    if says(&["169.254.169.254", "169.254.170.2", "metadata.google.internal"]) {
        return (ErrorKind::Unauthenticated, Some(NO_CREDENTIALS.into()));
    }
    match error {
        object_store::Error::PermissionDenied { .. } => (ErrorKind::Forbidden, Some(FORBIDDEN.into())),
        object_store::Error::Unauthenticated { .. } => {
            (ErrorKind::Unauthenticated, Some(BAD_CREDENTIALS.into()))
        }
        object_store::Error::InvalidPath { .. }
        | object_store::Error::NotSupported { .. }
        | object_store::Error::NotImplemented { .. }
        | object_store::Error::UnknownConfigurationKey { .. } => (ErrorKind::Configuration, None),
        _ => (ErrorKind::Transient, None),
    }
}

/// Whether S3 says that the bucket is in another region than it was asked in: a redirection without a place, or 400.
pub(super) fn is_in_other_region(error: &object_store::Error) -> bool {
    const SIGNS: [&str; 3] =
        ["AuthorizationHeaderMalformed", "PermanentRedirect", "Received redirect without LOCATION"];
    let text = error.to_string();
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// What to do about a bucket in another region.
pub(super) fn other_region(region: Option<&str>) -> Cow<'static, str> {
    match region {
        Some(region) => format!("the bucket is in the region {region}: set AWS_REGION={region}").into(),
        None => "the bucket is in another region than AWS_REGION says; tracewell doctor says in which".into(),
    }
}

/// The region that an answer of S3 names.
fn region_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    is_region(region).then_some(region)
}

/// Whether this may be the name of a region.
pub(super) fn is_region(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(plain)
}
