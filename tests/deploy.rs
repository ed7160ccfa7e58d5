//! The files under `deploy/`, read as those read them who they are for: configurations and rules by the daemon's own loaders,
//! metrics beside what a running daemon shows.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use support::{Start, tracewell};
use tracewell::config::{Config, ConfigFile, Flags};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap()
}

fn documents(path: &str) -> Vec<Value> {
    let text = read(path);
    let parse = |document| serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split("\n---\n").map(parse).collect()
}

const KUBERNETES: [&str; 5] =
    ["kustomization.yaml", "namespace.yaml", "rules.yaml", "gateway.yaml", "agent.yaml"];

/// Every object of the manifests.
fn objects() -> Vec<Value> {
    KUBERNETES[1..].iter().flat_map(|name| documents(&format!("kubernetes/{name}"))).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

/// The configuration of a config map, as a container with these variables loads it.
fn configured(config_map: &Value, container: &Value) -> Config {
    let text = config_map["data"]["tracewell.yaml"].as_str().unwrap();
    let variables: BTreeSet<&str> =
        container["env"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let env = |name: &str| match name {
        // The only value that is no plain word.
        "TRACEWELL_STORE_URL" => Some("s3://bucket/traces".to_owned()),
        _ if variables.contains(name) => Some("some-value".to_owned()),
        _ => None,
    };
    let file = ConfigFile { name: "tracewell.yaml", text };
    let machine = Some(1 << 30);
    Config::load(&Flags::default(), &|name| env(name), Some(file), machine).unwrap_or_else(|e| panic!("{e}"))
}

/// How long a process may take from SIGTERM to its end: leaving the fleet, then the rest.
fn stops_within(config: &Config) -> Duration {
    let rules = read("kubernetes/rules.yaml");
    let wait = Regex::new(r"wait: (\d+)s").unwrap().captures(&rules).unwrap()[1].parse().unwrap();
    let leaves = config.gateways.drain.unwrap_or(Duration::from_secs(wait) + config.gateways.settle);
    let is_gateway = config.gateways.own_name.is_some();
    config.shutdown.deadline + if is_gateway { leaves } else { Duration::ZERO }
}

#[test]
fn the_manifests_are_whole_and_their_configurations_load() {
    let kustomization = &documents("kubernetes/kustomization.yaml")[0];
    let resources: Vec<_> = kustomization["resources"].as_array().unwrap().clone();
    assert_eq!(resources, KUBERNETES[1..], "each file is part of it");
    let objects = objects();
    assert!(objects.iter().all(|object| object["apiVersion"].is_string() && object["kind"].is_string()));
    let namespaced = objects.iter().filter(|o| {
        !["Namespace", "ClusterRole", "ClusterRoleBinding"].contains(&o["kind"].as_str().unwrap())
    });
    assert!(namespaced.clone().all(|object| object["metadata"]["namespace"] == "tracewell"));

    for (kind, name) in [("StatefulSet", "tracewell-gateway"), ("DaemonSet", "tracewell-agent")] {
        let spec = &of_kind(&objects, kind, name)["spec"];
        let pod = &spec["template"]["spec"];
        let container = &pod["containers"][0];
        let config = configured(of_kind(&objects, "ConfigMap", name), container);
        let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
        assert!(stops_within(&config) < grace, "{name}: {:?} of {grace:?}", stops_within(&config));
        assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);

        // Each mount has its volume, and each file of the configuration lies in one.
        let names = |list: &Value| -> BTreeSet<String> {
            let list = list.as_array().cloned().unwrap_or_default();
            list.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        let claims = spec["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        let claims = claims.iter().map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned());
        let volumes: BTreeSet<_> = names(&pod["volumes"]).into_iter().chain(claims).collect();
        assert_eq!(names(&container["volumeMounts"]), volumes, "{name}");
        let mounts: Vec<PathBuf> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["mountPath"].as_str().unwrap().into())
            .collect();
        let files =
            [Some(config.data.clone()), config.gateways.token_file.clone(), config.auth.credentials.clone()];
        for file in files.into_iter().flatten() {
            assert!(
                mounts.iter().any(|mount| file.starts_with(mount)),
                "{name}: {} is on no volume",
                file.display()
            );
        }
        // Its ports are those that it listens on, and probes name them.
        let ports: BTreeMap<String, u64> = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| (port["name"].as_str().unwrap().to_owned(), port["containerPort"].as_u64().unwrap()))
            .collect();
        let expected = [("api", 3200), ("otlp-grpc", 4317), ("otlp-http", 4318)];
        assert!(ports.iter().map(|(name, port)| (name.as_str(), *port)).eq(expected), "{ports:?}");
        for (probe, path) in
            [("startupProbe", "/healthz"), ("readinessProbe", "/ready"), ("livenessProbe", "/healthz")]
        {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{name}: {probe}");
        }
    }
    // Gateways are found by the records of the service that gives them their names.
    let gateway = of_kind(&objects, "StatefulSet", "tracewell-gateway");
    let peers = of_kind(&objects, "Service", gateway["spec"]["serviceName"].as_str().unwrap());
    assert_eq!(
        (&peers["spec"]["clusterIP"], &peers["spec"]["publishNotReadyAddresses"]),
        (&"None".into(), &true.into())
    );
    for name in ["tracewell-gateway", "tracewell-agent"] {
        let text =
            of_kind(&objects, "ConfigMap", name)["data"]["tracewell.yaml"].as_str().unwrap().to_owned();
        assert!(text.contains("srv: _otlp-grpc._tcp.tracewell-gateway-peers.tracewell.svc"), "{text}");
    }
}

#[test]
fn the_rules_of_the_manifests_are_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    let objects = objects();
    let rules = of_kind(&objects, "ConfigMap", "tracewell-rules")["data"]["rules.yaml"].as_str().unwrap();
    std::fs::write(&path, rules).unwrap();
    let (code, out, error) = tracewell(&["rules", "check", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{error}");
}

#[test]
fn the_unit_gives_a_gateway_time_to_leave() {
    let unit = read("systemd/tracewell.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let mut gateway = Config::default();
    gateway.gateways.own_name = Some("here:4317".into());
    assert!(stops_within(&gateway) < Duration::from_secs(seconds(&value("TimeoutStopSec"))));
    assert!(value("ExecStart").ends_with("run --config /etc/tracewell/tracewell.yaml"));
    // Connections on two ports, and as many files again.
    assert!(value("LimitNOFILE").parse::<usize>().unwrap() > 4 * Config::default().receive.connections);
}

/// Metric families with the labels of their series, as `/metrics` has them.
fn shown(metrics: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (sample, label) =
        (Regex::new(r"^([a-z_]+)(?:\{(.*)\})? ").unwrap(), Regex::new(r#"([a-z_]+)=""#).unwrap());
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let total = if kind == "counter" { "_total" } else { "" };
            shown.entry(format!("{name}{total}")).or_default();
        } else if let Some(found) = sample.captures(line) {
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            let labels = label.captures_iter(labels).map(|found| found[1].to_owned());
            shown.entry(found[1].to_owned()).or_default().extend(labels);
        }
    }
    shown
}

/// What a fleet of one gateway and its agent show, after some traffic.
async fn all_metrics() -> BTreeMap<String, BTreeSet<String>> {
    use support::traffic::{self, Shape};
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ca = support::certs::Ca::new(&folder.path().join("ca"), "ca");
    ca.issue("gateway");
    let at = |name: &str| ca.path(name).display().to_string();
    let tls = format!(
        "tls: {{ api: {{ enabled: true, cert: {}, key: {} }} }}",
        at("gateway.pem"),
        at("gateway.key")
    );
    let members = format!("static: ['127.0.0.1:{port}']");
    let gateway = format!(
        "role: gateway\ngateways: {{ {members}, self: '127.0.0.1:{port}' }}\nstore: {{ flush: {{ age: 200ms }} }}\n"
    );
    let rules = "version: 1\ndecision: { wait: 1s, after_root: 100ms }\nrules:\n  - { name: errors, when: '{ status = error }', keep: 100% }\n  - { name: rest, drop: true }\n";
    let mut gateway = Start::new(&folder.path().join("gateway").join("data")).rules(rules).config(&gateway);
    gateway.grpc = Some(format!("127.0.0.1:{port}"));
    let gateway = gateway.run();
    let agent = format!("role: agent\ngateways: {{ {members} }}\n");
    let agent = Start::new(&folder.path().join("agent").join("data")).config(&agent).run();
    // What certificates and their files say needs one that has them.
    let secure = Start::new(&folder.path().join("secure").join("data")).config(&tls).run();
    let mut client = traffic::connect(&agent.grpc).await.unwrap();
    for (number, shape) in [(1, Shape::Error), (2, Shape::Plain)] {
        traffic::send(&mut client, traffic::trace(number, shape, 3), "shop").await.unwrap();
    }
    let done = |status: &Value| {
        status["losses"]["default"]["stored"] == 3 && status["losses"]["default"]["dropped"] == 3
    };
    gateway.status_when("stored and dropped", Duration::from_secs(60), done).await;
    let trusting = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusting]).no_proxy().build().unwrap();
    let url = format!("{}/metrics", secure.api.replace("http:", "https:"));
    let secure = client.get(url).send().await.unwrap().text().await.unwrap();
    let texts = [gateway.get("/metrics").await.1, agent.get("/metrics").await.1, secure];
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in texts.iter().flat_map(|text| shown(text)) {
        all.entry(name).or_default().extend(labels);
    }
    all
}

/// Labels that Prometheus adds to each series.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// What is wrong with an expression: names and labels that nobody shows.
fn unknown(expression: &str, shown: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let metric = Regex::new(r"\b((?:tracewell|process)_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r#"([a-z_]+)\s*[=!]~?\s*""#).unwrap();
    let grouping = Regex::new(r"\bby \(([a-z_, ]+)\)").unwrap();
    let (mut wrong, mut known) = (Vec::new(), BTreeSet::from(OF_PROMETHEUS.map(str::to_owned)));
    for found in metric.captures_iter(expression) {
        let Some(labels) = shown.get(&found[1]) else {
            wrong.push(format!("{}: there is no such metric in `{expression}`", &found[1]));
            continue;
        };
        known.extend(labels.iter().cloned());
        let named = found.get(2).map_or("", |labels| labels.as_str());
        let named = label.captures_iter(named).map(|found| found[1].to_owned());
        let is_unknown = |name: &String| !labels.contains(name) && !OF_PROMETHEUS.contains(&name.as_str());
        wrong.extend(named.filter(is_unknown).map(|name| format!("{} has no label {name}", &found[1])));
    }
    for found in grouping.captures_iter(expression) {
        let names = found[1].split(',').map(|name| name.trim().to_owned());
        wrong.extend(
            names.filter(|name| !known.contains(name)).map(|name| format!("by {name}: `{expression}`")),
        );
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let shown = all_metrics().await;
    assert!(shown["tracewell_spans_total"].contains("outcome"), "{shown:?}");
    let alerts = &documents("prometheus/alerts.yaml")[0];
    let alerts: Vec<_> = alerts["groups"][0]["rules"].as_array().unwrap().iter().collect();
    let dashboard: Value = serde_json::from_str(&read("grafana/tracewell.json")).unwrap();
    let targets: Vec<_> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default())
        .collect();
    assert!(alerts.len() > 10 && targets.len() > 30);
    let expressions =
        alerts.iter().map(|rule| &rule["expr"]).chain(targets.iter().map(|target| &target["expr"]));
    let wrong: Vec<_> =
        expressions.flat_map(|expression| unknown(expression.as_str().unwrap(), &shown)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for rule in alerts {
        for key in ["summary", "description"] {
            let text = rule["annotations"][key].as_str().unwrap();
            let braces = text.matches("{{").count() + text.matches("}}").count();
            assert_eq!(braces, 2 * text.matches("{{ $labels.").count(), "{text}");
        }
    }
    let query = dashboard["templating"]["list"][1]["definition"].as_str().unwrap();
    assert!(unknown(query, &shown).is_empty(), "{query}");
    // Nobody shows these.
    assert_eq!(unknown("sum by (colour) (rate(tracewell_spans_total[5m]))", &shown).len(), 1);
    assert_eq!(unknown("tracewell_spans_totals{x=\"y\"} > tracewell_ready{x=\"y\"}", &shown).len(), 2);
}
