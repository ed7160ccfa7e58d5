"""A Tracewell daemon with a folder and ports of its own."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import compare, tools

READY_SECONDS = 60
STOP_SECONDS = 30

# What is kept must come into the table within a test's patience.
CONFIG = "store: { flush: { age: 1s } }\n"
RULES_KEEP_ALL = """version: 1
decision: { wait: 2s, after_root: 500ms }
rules:
  - { name: everything, keep: 100% }
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Daemon:
    """`with Daemon() as d:` runs one until the block is left."""

    def __init__(self, rules=RULES_KEEP_ALL, debug=True, store=None, env=None, config=CONFIG, faster=None):
        """With `faster`, (libfaketime, factor), its clocks run faster than the machine's by that factor."""
        self.binary = tools.tracewell()
        self.folder = tempfile.TemporaryDirectory(prefix="tracewell-peers-")
        self.path = Path(self.folder.name)
        self.data = self.path / "data"
        self.store = store or f"file://{self.data / 'store'}"
        self.grpc, self.http, self.api = (f"127.0.0.1:{free_port()}" for _ in range(3))
        (self.path / "config.yaml").write_text(config)
        (self.path / "rules.yaml").write_text(rules)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("TRACEWELL_", "OTEL_", "AWS_"))}
        self.env |= {"TRACE_DEBUG": "1"} if debug else {}
        self.env |= env or {}
        self.process = None
        self.faster, self.began = faster, time.time()

    def __enter__(self):
        self.log = open(self.path / "log", "wb")
        command = [self.binary, "run", "--grpc", self.grpc, "--http", self.http, "--api", self.api, "--data", self.data]
        command += ["--config", self.path / "config.yaml", "--rules", self.path / "rules.yaml"]
        command += ["--store", self.store]
        self.process = subprocess.Popen(
            list(map(str, command)), env=self.clocked(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        until = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the daemon is not ready:\n{self.tail()}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind, _error, _trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        if kind is not None:
            print(f"   the daemon's log ends:\n{self.tail()}", flush=True)
        self.folder.cleanup()

    def clocked(self) -> dict[str, str]:
        """The environment in which a process has the daemon's clock."""
        if not self.faster:
            return self.env
        library, factor = self.faster
        ahead = (time.time() - self.began) * (factor - 1)
        # Files keep their real times: the daemon compares them with its clock, which is ahead.
        return self.env | {"LD_PRELOAD": str(library), "FAKETIME": f"+{ahead:.3f} x{factor}", "NO_FAKE_STAT": "1"}

    def endpoint(self, protocol) -> str:
        """Where a sender finds it."""
        return f"http://{self.grpc if protocol == 'grpc' else self.http}"

    def sender_env(self) -> dict[str, str]:
        """The environment of a sender."""
        return self.env

    def stop(self) -> list[str]:
        """Ends it by SIGTERM; what went wrong there."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"the daemon did not end within {STOP_SECONDS} s of SIGTERM"]
        return [] if code == 0 else [f"the daemon ended with {code}:\n{self.tail()}"]

    def tail(self) -> str:
        """The last lines of its log."""
        lines = (self.path / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-30:])

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.api}/ready", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def status(self) -> dict:
        """What /status says."""
        with urllib.request.urlopen(f"http://{self.api}/status", timeout=10) as answer:
            return json.load(answer)

    def show(self, trace_id: str, from_table=False):
        """`trace show --json`: its document, or None when there is no such trace. From the daemon, or from the table alone."""
        where = ["--store", self.store] if from_table else ["--url", f"http://{self.api}"]
        command = [self.binary, "trace", "show", trace_id, "--json", *where]
        done = subprocess.run(list(map(str, command)), env=self.env, capture_output=True, timeout=60)
        if done.returncode == 1:
            return None
        if done.returncode != 0:
            raise RuntimeError(f"trace show ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
        return compare.parse(done.stdout)
