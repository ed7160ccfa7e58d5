//! From a store's URL to an object store.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectStore, PutMode, PutMultipartOptions, PutOptions, RetryConfig,
    TagSet,
};
use url::Url;

use super::credentials::Chain;
use super::error::{ErrorKind, StoreError, is_in_other_region, is_region, other_region};

/// What a store is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// A local folder.
    Local,
    /// S3 or what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Given by [`Location::custom`].
    Custom,
}

/// Where a store is: an object store, and the folder in it.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) backend: Backend,
    /// Ends in a slash.
    pub(super) url: Url,
    /// The folder's path in `objects`.
    pub(super) path: Path,
}

/// What a data file's object has beside its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    tags: TagSet,
    attributes: Attributes,
}

impl Labels {
    /// With a tag.
    pub(super) fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push(key, value);
        self
    }

    /// In this storage class (S3, GCS) or access tier (Azure).
    pub(super) fn storage_class(mut self, class: &str) -> Self {
        self.attributes.insert(Attribute::StorageClass, class.to_owned().into());
        self
    }

    /// For an upload in one request.
    pub(super) fn put(&self) -> PutOptions {
        let Self { tags, attributes } = self.clone();
        PutOptions { mode: PutMode::Overwrite, tags, attributes, ..PutOptions::default() }
    }

    /// For an upload in parts.
    pub(super) fn multipart(&self) -> PutMultipartOptions {
        let Self { tags, attributes } = self.clone();
        PutMultipartOptions { tags, attributes, ..PutMultipartOptions::default() }
    }
}

/// Requests are tried again within this time; the writer tries again after it, for ever.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 4;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Location {
    /// The store at a URL: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
    /// the path of a local folder. Credentials, region and endpoint come from the usual variables (`AWS_*` with
    /// `AWS_ENDPOINT_URL` or `AWS_ENDPOINT`, `GOOGLE_*`, `AZURE_*`). A custom S3 endpoint may be plain HTTP and is
    /// addressed path style. Nothing is contacted yet; see [`Self::check`].
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for another scheme, a URL without a bucket, or variables that cannot be used.
    pub fn parse(store: &str) -> Result<Self, StoreError> {
        match Url::parse(store) {
            Ok(url) if url.scheme() == "file" => {
                let folder = url.to_file_path();
                local(folder.map_err(|()| configuration(store, "a file URL names a path on this machine"))?)
            }
            Ok(url) if url.scheme() == "s3" || url.scheme() == "s3a" => s3(store, url),
            Ok(url) if url.scheme() == "gs" => gcs(store, url),
            Ok(url) if url.scheme() == "az" || url.scheme() == "abfss" => azure(store, url),
            Ok(_) if store.contains("://") => {
                Err(configuration(store, "use file:///folder, s3://bucket/prefix, gs://… or az://…"))
            }
            _ => local(PathBuf::from(store)),
        }
    }

    /// A store behind any object store, under `url`'s path in it. For tests and programs that bring their own.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the path cannot be one of an object.
    pub fn custom(objects: Arc<dyn ObjectStore>, url: &str) -> Result<Self, StoreError> {
        let url = Url::parse(url).map_err(|e| configuration(url, e))?;
        at(objects, Backend::Custom, url)
    }

    /// The URL, without credentials, ending in a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What the store is behind.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The bucket or container; `None` for a local folder.
    pub fn bucket(&self) -> Option<&str> {
        self.url.host_str().filter(|_| self.backend != Backend::Local)
    }

    /// The store at a configured URL; without one, the folder `store` in the data directory.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn configured(url: Option<&Url>, data: &std::path::Path) -> Result<Self, StoreError> {
        url.map_or_else(|| local(data.join("store")), |url| Self::parse(url.as_str()))
    }

    /// Asks the store for one page of names: is it there, and may we read it?
    ///
    /// # Errors
    /// As the store says: [`ErrorKind::BucketMissing`], [`ErrorKind::Forbidden`], [`ErrorKind::Unauthenticated`] …
    pub async fn check(&self) -> Result<(), StoreError> {
        let Err(error) = self.objects.list_with_delimiter(Some(&self.path)).await else { return Ok(()) };
        let what = format!("cannot list {}", self.url);
        if let (Backend::S3, Some(bucket), true) = (self.backend, self.bucket(), is_in_other_region(&error))
            && let Some(region) = region_of(bucket).await
        {
            let why = other_region(Some(&region));
            return Err(StoreError::caused(ErrorKind::Configuration, format!("{what}: {why}"), error));
        }
        Err(StoreError::of_objects(&what, error))
    }
}

fn configuration(store: &str, why: impl Display) -> StoreError {
    // Secrets do not belong into the URL, but somebody may have put one there.
    let mut shown = store.to_owned();
    if let Ok(mut url) = Url::parse(store)
        && (url.password().is_some() || !url.username().is_empty())
    {
        // Only URLs without a host refuse, and those have neither.
        let _ = url.set_password(None).and_then(|()| url.set_username(""));
        shown = url.to_string();
    }
    StoreError::new(ErrorKind::Configuration, format!("cannot use the store {shown}: {why}"))
}

fn local(folder: PathBuf) -> Result<Location, StoreError> {
    let shown = folder.display().to_string();
    let folder = std::path::absolute(&folder).map_err(|e| configuration(&shown, e))?;
    let url = Url::from_directory_path(&folder).map_err(|()| configuration(&shown, "not a path"))?;
    let path = Path::from_absolute_path(&folder).map_err(|e| configuration(&shown, e))?;
    // A commit counts when it is on the disk, not when it is in the page cache.
    let objects = Arc::new(LocalFileSystem::new().with_fsync(true));
    Ok(Location { objects, backend: Backend::Local, url, path })
}

fn at(objects: Arc<dyn ObjectStore>, backend: Backend, mut url: Url) -> Result<Location, StoreError> {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.set_query(None);
    let path = Path::from_url_path(url.path()).map_err(|e| configuration(url.as_str(), e))?;
    Ok(Location { objects, backend, url, path })
}

fn bucket(store: &str, url: &Url) -> Result<String, StoreError> {
    match url.host_str() {
        Some(bucket) if !bucket.is_empty() => Ok(bucket.to_owned()),
        _ => Err(configuration(store, "it names no bucket")),
    }
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT)
}

/// The custom S3 endpoint that the environment names.
pub(super) fn s3_endpoint() -> Option<String> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    names.iter().find_map(|name| std::env::var(name).ok()).filter(|endpoint| !endpoint.is_empty())
}

/// The region that a bucket is in. S3 tells it anybody, also with a refusal
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>).
async fn region_of(bucket: &str) -> Option<String> {
    // Without TLS there is no client.
    rustls::crypto::CryptoProvider::get_default()?;
    let url = match s3_endpoint() {
        Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        None => format!("https://{bucket}.s3.amazonaws.com/"),
    };
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(RETRY_TIMEOUT);
    let answer = client.build().ok()?.head(url).send().await.ok()?;
    let region = answer.headers().get("x-amz-bucket-region")?.to_str().ok()?;
    is_region(region).then(|| region.to_owned())
}

fn s3(store: &str, url: Url) -> Result<Location, StoreError> {
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(bucket(store, &url)?).with_retry(retries());
    if Chain::is_needed(|name| std::env::var(name).ok()) {
        builder = builder.with_credentials(Arc::new(Chain::new()));
    }
    let mut options = client();
    if let Some(endpoint) = s3_endpoint() {
        options = options.with_allow_http(endpoint.starts_with("http://"));
        builder =
            builder.with_endpoint(endpoint.trim_end_matches('/')).with_virtual_hosted_style_request(false);
    }
    let objects = builder.with_client_options(options).build().map_err(|e| configuration(store, e))?;
    at(Arc::new(objects), Backend::S3, url)
}

fn gcs(store: &str, url: Url) -> Result<Location, StoreError> {
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket(store, &url)?);
    let builder = builder.with_retry(retries()).with_client_options(client());
    at(Arc::new(builder.build().map_err(|e| configuration(store, e))?), Backend::Gcs, url)
}

fn azure(store: &str, url: Url) -> Result<Location, StoreError> {
    let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket(store, &url)?);
    let builder = builder.with_retry(retries()).with_client_options(client());
    at(Arc::new(builder.build().map_err(|e| configuration(store, e))?), Backend::Azure, url)
}
