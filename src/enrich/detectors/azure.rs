//! Azure's instance metadata service. `TRACEWELL_AZURE_METADATA_ENDPOINT` names another one.
//! <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>

use serde::Deserialize;

use super::{DetectError, Machine, Outcome, metadata, text};

const ENDPOINT: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/instance/compute?api-version=2021-12-13&format=json";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Compute {
    location: String,
    name: String,
    resource_group_name: String,
    subscription_id: String,
    vm_id: String,
    vm_scale_set_name: String,
    vm_size: String,
    zone: String,
}

pub(super) async fn detect(machine: Machine<'_>) -> Outcome {
    let endpoint = metadata::endpoint(machine.variable("TRACEWELL_AZURE_METADATA_ENDPOINT"), ENDPOINT);
    let compute = ask(&endpoint).await.map_err(|why| DetectError::Metadata("azure", why))?;
    let fields = [
        ("cloud.account.id", compute.subscription_id),
        ("cloud.region", compute.location),
        ("cloud.availability_zone", compute.zone),
        ("host.id", compute.vm_id),
        ("host.name", compute.name),
        ("host.type", compute.vm_size),
        ("azure.resource_group.name", compute.resource_group_name),
        ("azure.vm.scaleset.name", compute.vm_scale_set_name),
    ];
    let mut found = vec![text("cloud.provider", "azure"), text("cloud.platform", "azure_vm")];
    found.extend(
        fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| text(key, value)),
    );
    Ok(found)
}

async fn ask(endpoint: &str) -> Result<Compute, String> {
    let request = metadata::client()?.get(format!("{endpoint}{PATH}")).header("Metadata", "true");
    let answer = metadata::body(metadata::ask(request).await?).await?;
    serde_json::from_slice(&answer).map_err(|_| "answers with no description of an instance".into())
}
