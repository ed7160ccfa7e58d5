//! The bucket's lifecycle rules: the backstop that purges what the daemon did not. S3 only.
//!
//! Objects carry their retention class as a tag. A rule for each class expires them some days after the daemon should
//! have; another aborts multipart uploads that were cut off. Rules that are not ours stay as they are: ours are known by
//! the beginning of their id, which names the store's prefix too, so that several stores can share a bucket.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_bucket_lifecycle_configuration::PutBucketLifecycleConfigurationError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter, Tag,
};
use twox_hash::XxHash3_64;

use super::backends::{Backend, Location};
use super::credentials::shared_config;
use super::error::{ErrorKind, StoreError};
use super::retention::RetentionPolicy;
use crate::sample::RetentionTerms;

/// The tag that says which retention class an object is of.
pub const TAG_RETENTION: &str = "tracewell-retention";

/// The bucket purges this much later than the daemon should have: a file that the table still names must not vanish.
const MARGIN: Duration = Duration::from_secs(7 * 86_400);
const ABORT_UPLOADS_AFTER_DAYS: i32 = 1;
const SECONDS_PER_DAY: u64 = 86_400;
const ID_PREFIX: &str = "tracewell-";
/// Where neither environment nor profile names a region; stores that only speak like S3 do not care.
const REGION_DEFAULT: &str = "us-east-1";

/// What became of the bucket's rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LifecycleOutcome {
    /// They were changed.
    Updated,
    /// They were right already.
    Unchanged,
    /// The store is not on S3.
    NotS3,
}

/// Makes the bucket's lifecycle rules for this store those of the policy. Reads them, replaces ours, writes them back.
///
/// # Errors
/// [`ErrorKind::Forbidden`] without `s3:GetLifecycleConfiguration` and `s3:PutLifecycleConfiguration`; the others as the
/// bucket has them. Writing spans does not depend on it.
pub async fn apply_lifecycle(
    location: &Location,
    policy: &RetentionPolicy,
) -> Result<LifecycleOutcome, StoreError> {
    let (Backend::S3, Some(bucket)) = (location.backend(), location.bucket()) else {
        return Ok(LifecycleOutcome::NotS3);
    };
    apply_with(&client().await, bucket, location.path.as_ref(), policy).await
}

/// How a lifecycle rule of the bucket stands to what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LifecycleState {
    /// As it should be.
    Right,
    /// Ours, but not there.
    Missing,
    /// Ours, but with other terms.
    Different,
    /// Ours, of a class that there is no more.
    Leftover,
    /// Somebody else's: never touched.
    Foreign,
}

/// A lifecycle rule that is on the bucket, or should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LifecycleLine {
    /// Its id on the bucket.
    pub id: String,
    /// What it is to do, in words.
    pub what: String,
    /// How it stands.
    pub state: LifecycleState,
}

/// The bucket's lifecycle rules beside those of the policy; nothing changes. `None` where the store is not on S3.
///
/// # Errors
/// As [`apply_lifecycle`], which mends what this finds.
pub async fn compare_lifecycle(
    location: &Location,
    policy: &RetentionPolicy,
) -> Result<Option<Vec<LifecycleLine>>, StoreError> {
    let (Backend::S3, Some(bucket)) = (location.backend(), location.bucket()) else { return Ok(None) };
    let prefix = location.path.as_ref();
    let before = current_rules(&client().await, bucket).await?;
    Ok(Some(compared(&before, &uploads_rule(prefix)?, &class_rules(prefix, policy)?, prefix)))
}

fn compared(
    before: &[LifecycleRule],
    uploads: &LifecycleRule,
    classes: &[LifecycleRule],
    prefix: &str,
) -> Vec<LifecycleLine> {
    let ours: Vec<&LifecycleRule> = std::iter::once(uploads).chain(classes).collect();
    let line = |rule: &LifecycleRule, state| LifecycleLine {
        id: rule.id().unwrap_or_default().to_owned(),
        what: in_short(rule),
        state,
    };
    let expected = ours.iter().map(|rule| {
        let state = match before.iter().find(|found| found.id() == rule.id()) {
            Some(found) if found == *rule => LifecycleState::Right,
            Some(_) => LifecycleState::Different,
            None => LifecycleState::Missing,
        };
        line(rule, state)
    });
    let id_prefix = id_prefix(prefix);
    let others = before.iter().filter(|found| ours.iter().all(|rule| rule.id() != found.id()));
    let others = others.map(|rule| match rule.id().is_some_and(|id| id.starts_with(&id_prefix)) {
        true => line(rule, LifecycleState::Leftover),
        false => line(rule, LifecycleState::Foreign),
    });
    expected.chain(others).collect()
}

/// `expire retention class errors after 37 days`.
fn in_short(rule: &LifecycleRule) -> String {
    let and = rule.filter().and_then(|filter| filter.and());
    let class = and.and_then(|and| and.tags().iter().find(|tag| tag.key() == TAG_RETENTION));
    let class = class.map_or("objects".to_owned(), |tag| format!("retention class {}", tag.value()));
    if let Some(days) = rule.expiration().and_then(LifecycleExpiration::days) {
        return format!("expire {class} after {}", in_days(days));
    }
    match rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation()) {
        Some(days) => format!("abort uploads that were cut off, after {}", in_days(days)),
        None => "something else".to_owned(),
    }
}

fn in_days(days: i32) -> String {
    if days == 1 { "a day".to_owned() } else { format!("{days} days") }
}

/// [`apply_lifecycle`] with a client.
pub(super) async fn apply_with(
    client: &Client,
    bucket: &str,
    prefix: &str,
    policy: &RetentionPolicy,
) -> Result<LifecycleOutcome, StoreError> {
    let before = current_rules(client, bucket).await?;
    let classes = class_rules(prefix, policy)?;
    let mut all = vec![uploads_rule(prefix)?];
    all.extend(classes.iter().cloned());
    match replace(client, bucket, &before, merged(&before, all, prefix)).await {
        // MinIO takes no rule that only aborts uploads (it sweeps them by itself after a day).
        Err(error) if is_not_understood(&error) => {
            replace(client, bucket, &before, merged(&before, classes, prefix)).await
        }
        done => done,
    }
    .map_err(|e| of_sdk("cannot set the bucket's lifecycle rules", e))
}

async fn replace(
    client: &Client,
    bucket: &str,
    before: &[LifecycleRule],
    after: Vec<LifecycleRule>,
) -> Result<LifecycleOutcome, SdkError<PutBucketLifecycleConfigurationError>> {
    if after == before {
        return Ok(LifecycleOutcome::Unchanged);
    }
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(after)).build();
    let configuration = configuration.map_err(SdkError::construction_failure)?;
    let put = client.put_bucket_lifecycle_configuration().bucket(bucket);
    put.lifecycle_configuration(configuration).send().await?;
    Ok(LifecycleOutcome::Updated)
}

fn is_not_understood<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    matches!(error.code(), Some("InvalidArgument" | "MalformedXML" | "InvalidRequest" | "NotImplemented"))
}

async fn current_rules(client: &Client, bucket: &str) -> Result<Vec<LifecycleRule>, StoreError> {
    match client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(found) => Ok(found.rules().to_vec()),
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
        Err(error) => Err(of_sdk("cannot read the bucket's lifecycle rules", error)),
    }
}

/// Our rules' ids for a prefix begin with this.
fn id_prefix(prefix: &str) -> String {
    format!("{ID_PREFIX}{:08x}-", XxHash3_64::oneshot(prefix.as_bytes()) as u32)
}

/// The rules there are, ours replaced. In the order they had, so that nothing changes where nothing must.
fn merged(before: &[LifecycleRule], ours: Vec<LifecycleRule>, prefix: &str) -> Vec<LifecycleRule> {
    let id_prefix = id_prefix(prefix);
    let is_ours = |rule: &&LifecycleRule| rule.id().is_some_and(|id| id.starts_with(&id_prefix));
    let others = before.iter().filter(|rule| !is_ours(rule)).cloned();
    let old: Vec<_> = before.iter().filter(is_ours).collect();
    let is_same = old.len() == ours.len() && ours.iter().all(|rule| old.contains(&rule));
    if is_same { before.to_vec() } else { others.chain(ours).collect() }
}

/// The folder of the store under `prefix`, as filters want it.
fn folder(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

/// Aborts multipart uploads that were cut off. S3 takes no tags beside that, so it is a rule of its own.
fn uploads_rule(prefix: &str) -> Result<LifecycleRule, StoreError> {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(ABORT_UPLOADS_AFTER_DAYS);
    let rule = LifecycleRule::builder()
        .id(format!("{}uploads", id_prefix(prefix)))
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(folder(prefix)).build())
        .abort_incomplete_multipart_upload(abort.build());
    rule.build().map_err(internal)
}

/// A rule for each class of a policy.
fn class_rules(prefix: &str, policy: &RetentionPolicy) -> Result<Vec<LifecycleRule>, StoreError> {
    let rule = |(class, terms): (&String, &RetentionTerms)| {
        let tag = Tag::builder().key(TAG_RETENTION).value(class).build().map_err(internal)?;
        let both = LifecycleRuleAndOperator::builder().prefix(folder(prefix)).tags(tag).build();
        let days = (terms.age + MARGIN).as_secs().div_ceil(SECONDS_PER_DAY);
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let rule = LifecycleRule::builder()
            .id(format!("{}{:08x}", id_prefix(prefix), XxHash3_64::oneshot(class.as_bytes()) as u32))
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().and(both).build())
            .expiration(LifecycleExpiration::builder().days(days).build());
        rule.build().map_err(internal)
    };
    policy.classes.iter().map(rule).collect()
}

/// A client from the usual chain: environment, profiles, web identity, instance metadata.
async fn client() -> Client {
    client_of(&shared_config().await)
}

/// A client with these settings; a custom endpoint is addressed path style, and asked for no more checksums than it must know.
pub(super) fn client_of(shared: &aws_config::SdkConfig) -> Client {
    let mut config = aws_sdk_s3::config::Builder::from(shared);
    if shared.region().is_none() {
        config = config.region(aws_sdk_s3::config::Region::new(REGION_DEFAULT));
    }
    if shared.endpoint_url().is_some() {
        config = config
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Client::from_conf(config.build())
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::caused(ErrorKind::Internal, "cannot describe lifecycle rules", error)
}

fn of_sdk<E, R>(what: &str, error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let (kind, why) = match error.code() {
        Some("NoSuchBucket") => (ErrorKind::BucketMissing, "the bucket is not there".to_owned()),
        Some("AccessDenied" | "AllAccessDisabled") => (
            ErrorKind::Forbidden,
            "the credentials need s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration".to_owned(),
        ),
        Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken") => {
            (ErrorKind::Unauthenticated, "the credentials are not valid, or have expired".to_owned())
        }
        Some("NotImplemented" | "MethodNotAllowed") => {
            (ErrorKind::Configuration, "this store has no lifecycle rules".to_owned())
        }
        _ => (ErrorKind::Transient, in_words(&error)),
    };
    StoreError::caused(kind, format!("{what}: {why}"), error)
}

/// What the bucket said, or else the chain of causes; not the whole answer.
fn in_words<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    if let (Some(code), message) = (error.code(), error.message()) {
        return format!("{code}: {}", message.unwrap_or_default());
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests;
