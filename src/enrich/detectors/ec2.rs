//! EC2's instance metadata, version 2: a token by `PUT`, then the instance's identity document.
//! `AWS_EC2_METADATA_SERVICE_ENDPOINT` names another endpoint, `AWS_EC2_METADATA_DISABLED=true` asks nobody, as for the
//! AWS SDKs. <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>

use serde::Deserialize;

use super::{DetectError, Machine, Outcome, metadata, text};

const ENDPOINT: &str = "http://169.254.169.254";
const TOKEN_SECONDS: &str = "60";

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    account_id: Option<String>,
    region: Option<String>,
    availability_zone: Option<String>,
    instance_id: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
}

pub(super) async fn detect(machine: Machine<'_>) -> Outcome {
    let wrong = |why: String| DetectError::Metadata("ec2", why);
    if machine.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(wrong("AWS_EC2_METADATA_DISABLED says not to ask".into()));
    }
    let endpoint = metadata::endpoint(machine.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT"), ENDPOINT);
    let (identity, name) = ask(&endpoint).await.map_err(wrong)?;
    let fields = [
        ("cloud.account.id", identity.account_id),
        ("cloud.region", identity.region),
        ("cloud.availability_zone", identity.availability_zone),
        ("host.id", identity.instance_id),
        ("host.type", identity.instance_type),
        ("host.image.id", identity.image_id),
        ("host.name", name),
    ];
    let mut found = vec![text("cloud.provider", "aws"), text("cloud.platform", "aws_ec2")];
    found.extend(fields.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    Ok(found)
}

async fn ask(endpoint: &str) -> Result<(Identity, Option<String>), String> {
    let client = metadata::client()?;
    let token = client.put(format!("{endpoint}/latest/api/token"));
    let token =
        token.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS).header("content-length", "0");
    let token = metadata::text_of(metadata::ask(token).await?).await?;
    let get = |path: &str| client.get(format!("{endpoint}{path}")).header("X-aws-ec2-metadata-token", &token);
    let document = metadata::ask(get("/latest/dynamic/instance-identity/document")).await?;
    let identity = serde_json::from_slice(&metadata::body(document).await?);
    let identity = identity.map_err(|_| "answers with no identity document".to_owned())?;
    // Not every network gives names.
    let name = match metadata::ask(get("/latest/meta-data/hostname")).await {
        Ok(response) => metadata::text_of(response).await.ok().filter(|name| !name.is_empty()),
        Err(_) => None,
    };
    Ok((identity, name))
}
