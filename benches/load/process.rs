//! CPU and memory of a process, from /proc.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Linux shows CPU time to programs in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What a process has used since it started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time, of all its threads.
    pub cpu_seconds: f64,
    /// The most resident memory it ever had (VmHWM).
    pub peak_bytes: u64,
    /// Resident memory now (VmRSS).
    pub resident_bytes: u64,
}

impl Usage {
    /// Of this process.
    pub fn of_self() -> anyhow::Result<Self> {
        Self::read("self")
    }

    fn read(pid: &str) -> anyhow::Result<Self> {
        let gone = || format!("process {pid} is gone");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(gone)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(gone)?;
        // The name, in parentheses, may hold anything: count fields after it. utime is field 14, stime 15.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        let kilobytes = |key: &str| -> anyhow::Result<u64> {
            let line =
                status.lines().find_map(|line| line.strip_prefix(key)).context("no such line in status")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Self {
            cpu_seconds: ticks.iter().sum::<f64>() / TICKS_PER_SECOND,
            peak_bytes: kilobytes("VmHWM:")?,
            resident_bytes: kilobytes("VmRSS:")?,
        })
    }
}

/// The server under load.
pub struct Server {
    pid: u32,
    child: Option<Child>,
}

impl Server {
    /// A server that runs already.
    pub fn running(pid: u32) -> Self {
        Self { pid, child: None }
    }

    /// Starts one. The shell replaces itself, so the process measured is the server.
    pub fn start(command: &str) -> anyhow::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the server does not start")?;
        Ok(Self { pid: child.id(), child: Some(child) })
    }

    /// What it has used so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::read(&self.pid.to_string())
    }

    /// Ends it if it was started here, and waits for that.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Some(mut child) = self.child else { return Ok(()) };
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let until = Instant::now() + STOP_PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                child.kill()?;
                bail!("the server did not end within {STOP_PATIENCE:?} of SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
