//! The clouds' metadata services, as small HTTP servers that insist on their protocols.

use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;

/// Serves on a port of its own; the address, `HOST:PORT`.
async fn serve(answer: fn(Request) -> Response) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(async move |request: Request| answer(request));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers().get(name)?.to_str().ok()
}

fn ec2(request: Request) -> Response {
    const TOKEN: &str = "a-token==";
    let is_authorized = header(&request, "x-aws-ec2-metadata-token") == Some(TOKEN);
    match (request.method().as_str(), request.uri().path()) {
        ("PUT", "/latest/api/token") => match header(&request, "x-aws-ec2-metadata-token-ttl-seconds") {
            Some(seconds) if (1..=21600).contains(&seconds.parse().unwrap_or(0)) => TOKEN.into_response(),
            _ => StatusCode::BAD_REQUEST.into_response(),
        },
        ("GET", _) if !is_authorized => StatusCode::UNAUTHORIZED.into_response(),
        ("GET", "/latest/dynamic/instance-identity/document") => r#"{
            "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": "eu-west-1b",
            "billingProducts": null, "imageId": "ami-5fb8c835", "instanceId": "i-1234567890abcdef0",
            "instanceType": "t2.micro", "privateIp": "10.158.112.84", "region": "eu-west-1"
        }"#
        .into_response(),
        ("GET", "/latest/meta-data/hostname") => "ip-10-158-112-84.ec2.internal".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn gcp(request: Request) -> Response {
    if header(&request, "metadata-flavor") != Some("Google") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let answer = match request.uri().path().strip_prefix("/computeMetadata/v1/") {
        Some("project/project-id") => "my-project",
        Some("instance/id") => "4520031799277581759",
        Some("instance/name") => "gke-node-1",
        Some("instance/zone") => "projects/123456/zones/europe-west4-a",
        Some("instance/machine-type") => "projects/123456/machineTypes/n1-standard-4",
        Some("instance/attributes/cluster-name") => "shop",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([("Metadata-Flavor", "Google")], answer).into_response()
}

fn azure(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let is_right = header(&request, "metadata") == Some("true")
        && header(&request, "x-forwarded-for").is_none()
        && query.contains("api-version=20");
    match request.uri().path() {
        "/metadata/instance/compute" if is_right => r#"{
            "azEnvironment": "AzurePublicCloud", "location": "westeurope", "name": "vm-1",
            "resourceGroupName": "rg", "subscriptionId": "8d10da13", "vmId": "02aab8a4",
            "vmScaleSetName": "", "vmSize": "Standard_A3", "zone": "2", "tags": "secret:x"
        }"#
        .into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[tokio::test]
async fn ec2_is_asked_with_a_token() {
    let endpoint = format!("http://{}/", serve(ec2).await);
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    let (found, errors) = detected(&[DetectorKind::Ec2], &variables, &[]).await;
    let expected = "cloud.provider=aws cloud.platform=aws_ec2 cloud.account.id=123456789012 \
                    cloud.region=eu-west-1 cloud.availability_zone=eu-west-1b host.id=i-1234567890abcdef0 \
                    host.type=t2.micro host.image.id=ami-5fb8c835 host.name=ip-10-158-112-84.ec2.internal";
    assert_eq!((found.as_str(), errors), (expected, vec![]));
    let disabled = [variables[0], ("AWS_EC2_METADATA_DISABLED", "true")];
    assert!(detected(&[DetectorKind::Ec2], &disabled, &[]).await.0.is_empty());
}

#[tokio::test]
async fn google_is_known_by_its_flavor() {
    let host = serve(gcp).await;
    let (found, errors) = detected(&[DetectorKind::Gcp], &[("GCE_METADATA_HOST", &host)], &[]).await;
    let expected = "cloud.provider=gcp cloud.platform=gcp_kubernetes_engine cloud.account.id=my-project \
                    cloud.region=europe-west4 cloud.availability_zone=europe-west4-a host.id=4520031799277581759 \
                    host.name=gke-node-1 host.type=n1-standard-4 k8s.cluster.name=shop";
    assert_eq!((found.as_str(), errors), (expected, vec![]));
    // A captive portal answers everything.
    let portal = serve(|_| "welcome".into_response()).await;
    let (found, errors) = detected(&[DetectorKind::Gcp], &[("GCE_METADATA_HOST", &portal)], &[]).await;
    assert_eq!(
        (found.as_str(), errors),
        ("", vec!["gcp: what answers is not Google's metadata server".to_owned()])
    );
}

#[tokio::test]
async fn azure_describes_its_machine() {
    let endpoint = serve(azure).await;
    let variables = [("TRACEWELL_AZURE_METADATA_ENDPOINT", endpoint.as_str())];
    let (found, errors) = detected(&[DetectorKind::Azure], &variables, &[]).await;
    let expected = "cloud.provider=azure cloud.platform=azure_vm cloud.account.id=8d10da13 \
                    cloud.region=westeurope cloud.availability_zone=2 host.id=02aab8a4 host.name=vm-1 \
                    host.type=Standard_A3 azure.resource_group.name=rg";
    assert_eq!((found.as_str(), errors), (expected, vec![]));
}

#[tokio::test]
async fn clouds_that_do_not_answer_hold_nobody_up() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One takes connections and says nothing, one refuses them, one says too much.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let endless = serve(|_| "x".repeat(1 << 20).into_response()).await;
    let variables = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent_address.as_str()),
        ("GCE_METADATA_HOST", closed.as_str()),
        ("TRACEWELL_AZURE_METADATA_ENDPOINT", endless.as_str()),
        ("POD_NAME", "web-1"),
    ];
    use DetectorKind::{Azure, Ec2, Gcp, Kubernetes};
    let started = Instant::now();
    let (found, errors) = detected(&[Ec2, Gcp, Azure, Kubernetes], &variables, &[]).await;
    assert!(started.elapsed() < TIME_MAX + Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(found, "k8s.pod.name=web-1");
    let expected = [
        "ec2: does not answer in time",
        "gcp: cannot be reached: is this the right cloud?",
        "azure: answers with more than 65536 bytes",
    ];
    assert_eq!(errors, expected);
}
