//! What the black-box tests share: the real binary as a process, and an OTLP client.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod backend;
pub mod bucket;
pub mod certs;
pub mod disk;
pub mod rpc;
pub mod steps;
pub mod table;
pub mod traffic;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// A `tracewell run` process with a data folder and ports of its own. Killed when dropped.
pub struct Daemon {
    child: Child,
    pub grpc: String,
    pub http: String,
    pub api: String,
    /// Everything it has logged so far, a JSON object a line.
    pub logs: Arc<Mutex<Vec<String>>>,
}

/// How to start one.
#[derive(Clone, Default)]
pub struct Start {
    pub data: PathBuf,
    pub rules: Option<PathBuf>,
    pub config: Option<PathBuf>,
    pub store: Option<String>,
    /// Where it takes OTLP/gRPC; a port that the system chooses where nothing is said.
    pub grpc: Option<String>,
    pub env: Vec<(String, String)>,
    pub args: Vec<String>,
}

/// The binary that was built for the tests, or the one that `TRACEWELL_BINARY` names.
pub fn binary() -> Command {
    let named = std::env::var_os("TRACEWELL_BINARY");
    let mut command = Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_tracewell").into()));
    for (name, _) in std::env::vars() {
        if name.starts_with("TRACEWELL_") || name.starts_with("OTEL_") || name == "TRACE_DEBUG" {
            command.env_remove(name);
        }
    }
    command
}

impl Start {
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_path_buf(), ..Self::default() }
    }

    pub fn rules(mut self, text: &str) -> Self {
        let path = self.beside("rules.yaml");
        std::fs::write(&path, text).unwrap();
        self.rules = Some(path);
        self
    }

    pub fn config(mut self, text: &str) -> Self {
        let path = self.beside("config.yaml");
        std::fs::write(&path, text).unwrap();
        self.config = Some(path);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn beside(&self, name: &str) -> PathBuf {
        let folder = self.data.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        folder.join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = binary();
        let grpc = self.grpc.as_deref().unwrap_or("127.0.0.1:0");
        command.args(["run", "--grpc", grpc, "--http", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        command.arg("--data").arg(&self.data);
        if let Some(rules) = &self.rules {
            command.arg("--rules").arg(rules);
        }
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(store) = &self.store {
            command.arg("--store").arg(store);
        }
        command.args(&self.args).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts the daemon and waits until its ports are open. Panics with its log when it ends instead.
    pub fn run(&self) -> Daemon {
        let (mut daemon, addresses) = self.launch();
        while [&daemon.grpc, &daemon.http, &daemon.api].iter().any(|a| a.is_empty()) {
            match addresses.recv_timeout(Duration::from_secs(60)) {
                Ok((what, address)) => match what.as_str() {
                    "grpc" => daemon.grpc = format!("http://{address}"),
                    "http" => daemon.http = format!("http://{address}"),
                    _ => daemon.api = format!("http://{address}"),
                },
                Err(_) => panic!("the daemon did not start:\n{}", daemon.logs.lock().unwrap().join("\n")),
            }
        }
        daemon
    }

    /// Starts the daemon and waits for nothing: where its ports are comes by the channel.
    pub fn launch(&self) -> (Daemon, mpsc::Receiver<(String, String)>) {
        let mut child = self.command().spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let logs = Arc::new(Mutex::new(Vec::new()));
        let (listening, addresses) = mpsc::channel();
        let keep = logs.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Ok(json) = serde_json::from_str::<serde_json::Value>(&line)
                    && json["message"] == "listening"
                {
                    let text = |key: &str| json[key].as_str().unwrap_or_default().to_string();
                    let _ = listening.send((text("what"), text("address")));
                }
                keep.lock().unwrap().push(line);
            }
        });
        (Daemon { child, grpc: String::new(), http: String::new(), api: String::new(), logs }, addresses)
    }

    /// Runs it where it is expected to fail: its exit code and everything it said.
    pub fn run_to_failure(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill −9, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and its exit status within the deadline.
    pub fn terminate(mut self, deadline: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < deadline, "still running {deadline:?} after SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < deadline, "still running after {deadline:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The most memory it has had so far, in MiB.
    pub fn resident_mib_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Waits until `/status` is as wanted, and gives it. Panics with the last one after the deadline.
    pub async fn status_when(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let started = Instant::now();
        loop {
            let status = self.json("/status").await;
            if wanted(&status) {
                return status;
            }
            assert!(started.elapsed() < deadline, "{what}: not after {deadline:?}: {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn has_logged(&self, text: &str) -> bool {
        self.logs.lock().unwrap().iter().any(|line| line.contains(text))
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.api)).await
    }

    pub async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// `/api/search` for a TraceQL query: trace id → the ids of the spans that matched.
    pub async fn search(&self, query: &str, limit: usize) -> std::collections::BTreeMap<String, Vec<String>> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let found = self.json(&format!("/api/search?q={query}&limit={limit}&spss=1000")).await;
        let traces = found["traces"].as_array().cloned().unwrap_or_default();
        let spans = |trace: &serde_json::Value| -> Vec<String> {
            let sets = trace["spanSets"].as_array().cloned().unwrap_or_default();
            let spans = sets.iter().flat_map(|set| set["spans"].as_array().cloned().unwrap_or_default());
            spans.map(|span| span["spanID"].as_str().unwrap().to_string()).collect()
        };
        traces.iter().map(|t| (t["traceID"].as_str().unwrap().to_string(), spans(t))).collect()
    }

    /// Waits until `/status` says that everything acknowledged is known to the sampler, and nothing waits for a verdict or for
    /// the table.
    pub async fn settle(&self, deadline: Duration) {
        let started = Instant::now();
        loop {
            let status = self.json("/status").await;
            let sample = &status["sample"];
            let written = status["log"]["records"].as_u64().unwrap();
            let is_known = sample["applied_records"].as_u64().unwrap() >= written;
            if is_known && sample["pending_traces"] == 0 && sample["kept_traces_not_stored"] == 0 {
                return;
            }
            assert!(started.elapsed() < deadline, "not settled after {deadline:?}: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn get(url: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let response = reqwest::get(url).await.unwrap();
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

/// Runs a `tracewell` command to its end: exit code, standard output, standard error.
pub fn tracewell(args: &[&str]) -> (Option<i32>, String, String) {
    let output = binary().args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
