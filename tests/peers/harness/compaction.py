"""`tracewell table compact`, over and over beside a daemon."""

import os
import subprocess
import threading

EVERY_SECONDS = 5
RUNS_MIN = 3


class Compaction:
    """`with Compaction(daemon) as c:` compacts the daemon's store again and again until the block is left. Where the binary
    has no such command, or with PEERS_COMPACT=0, it does nothing and says so."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.why_not = "PEERS_COMPACT=0" if os.environ.get("PEERS_COMPACT") == "0" else None
        if not self.why_not and self._call("--help").returncode != 0:
            self.why_not = "this tracewell has no `table compact`"
        self.stop, self.runs, self.failures = threading.Event(), 0, []
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        if self.why_not:
            print(f"   no compaction by command beside it: {self.why_not}", flush=True)
        else:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        if self.thread.ident:
            self.thread.join()

    def outcome(self):
        """What it came to, as a part yields it."""
        if not self.why_not:
            few = [] if self.runs >= RUNS_MIN else [f"only {self.runs} compactions"]
            yield f"spark: {self.runs} compactions beside the daemon", self.failures + few

    def _run(self):
        while not self.stop.wait(EVERY_SECONDS):
            # There may be no table yet.
            done = self._call("--store", self.daemon.store)
            if done.returncode == 0:
                self.runs += 1
            elif self.runs:
                self.failures.append(f"table compact ended with {done.returncode}: {done.stderr.strip()}")

    def _call(self, *arguments):
        command = [str(self.daemon.binary), "table", "compact", *arguments]
        return subprocess.run(command, env=self.daemon.clocked(), capture_output=True, text=True, timeout=60)
