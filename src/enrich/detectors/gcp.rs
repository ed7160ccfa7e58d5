//! Google Cloud's metadata server. `GCE_METADATA_HOST` names another one, as for Google's own libraries.
//! <https://cloud.google.com/compute/docs/metadata/querying-metadata>

use super::{DetectError, Machine, Outcome, metadata, text};

const ENDPOINT: &str = "http://169.254.169.254";
/// In both directions: what answers without it is somebody else.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// What is asked for. The first must be answered, the others may be missing: only GKE has clusters.
const QUESTIONS: [&str; 6] = [
    "project/project-id",
    "instance/id",
    "instance/name",
    "instance/zone",
    "instance/machine-type",
    "instance/attributes/cluster-name",
];

pub(super) async fn detect(machine: Machine<'_>) -> Outcome {
    let wrong = |why: String| DetectError::Metadata("gcp", why);
    let endpoint = metadata::endpoint(machine.variable("GCE_METADATA_HOST"), ENDPOINT);
    let [project, id, name, zone, machine_type, cluster] = ask(&endpoint).await.map_err(wrong)?;
    // Both come as paths: `projects/NUMBER/zones/ZONE`.
    let last = |path: Option<String>| path.and_then(|path| path.rsplit('/').next().map(str::to_owned));
    let zone = last(zone);
    let region = zone.as_deref().and_then(|zone| zone.rsplit_once('-')).map(|(region, _)| region.to_owned());
    let is_cluster = cluster.is_some();
    let platform = if is_cluster { "gcp_kubernetes_engine" } else { "gcp_compute_engine" };
    let fields = [
        ("cloud.account.id", project),
        ("cloud.region", region),
        ("cloud.availability_zone", zone),
        ("host.id", id),
        ("host.name", name),
        ("host.type", last(machine_type)),
        ("k8s.cluster.name", cluster),
    ];
    let mut found = vec![text("cloud.provider", "gcp"), text("cloud.platform", platform)];
    found.extend(fields.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    Ok(found)
}

async fn ask(endpoint: &str) -> Result<[Option<String>; QUESTIONS.len()], String> {
    let client = metadata::client()?;
    let mut answers = [const { None }; QUESTIONS.len()];
    for (index, question) in QUESTIONS.into_iter().enumerate() {
        let request =
            client.get(format!("{endpoint}/computeMetadata/v1/{question}")).header(FLAVOR.0, FLAVOR.1);
        let response = match metadata::ask(request).await {
            Ok(response) => response,
            Err(why) if index == 0 => return Err(why),
            Err(_) => continue,
        };
        if response.headers().get(FLAVOR.0).is_none_or(|flavor| flavor != FLAVOR.1) {
            return Err("what answers is not Google's metadata server".into());
        }
        answers[index] = Some(metadata::text_of(response).await?).filter(|answer| !answer.is_empty());
    }
    Ok(answers)
}
