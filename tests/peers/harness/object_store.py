"""A MinIO server with one bucket, on ports and in a folder of its own."""

import base64
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from .daemon import free_port
from .tools import HERE

READY_SECONDS = 60


class Minio:
    """`with Minio(server, python) as m:` runs one until the block is left. m.env has the AWS_* variables for it."""

    def __init__(self, server, interpreter):
        self.server, self.interpreter = server, interpreter
        self.folder = tempfile.TemporaryDirectory(prefix="tracewell-minio-")
        self.address = f"127.0.0.1:{free_port()}"
        self.bucket = "traces"
        self.url = f"s3://{self.bucket}"
        # Names of a server that lives as long as this test, on the loopback interface.
        self.env = {
            "AWS_ACCESS_KEY_ID": "tracewell",
            "AWS_SECRET_ACCESS_KEY": "tracewell-test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ALLOW_HTTP": "true",
        }

    def __enter__(self):
        environment = {
            **os.environ,
            "MINIO_ROOT_USER": self.env["AWS_ACCESS_KEY_ID"],
            "MINIO_ROOT_PASSWORD": self.env["AWS_SECRET_ACCESS_KEY"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_KMS_SECRET_KEY": f"tracewell-key:{base64.b64encode(bytes(range(32))).decode()}",
        }
        self.log = open(f"{self.folder.name}/log", "wb")
        command = [self.server, "server", f"{self.folder.name}/data", "--address", self.address, "--quiet"]
        self.process = subprocess.Popen(list(map(str, command)), env=environment, stdout=self.log, stderr=self.log)
        until = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                with open(f"{self.folder.name}/log", encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"MinIO is not ready:\n{log.read()[-4000:]}")
            time.sleep(0.1)
        self._bucket("create")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/minio/health/ready", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _bucket(self, what) -> str:
        command = [str(self.interpreter), str(HERE / "tables" / "bucket.py"), what, self.bucket]
        done = subprocess.run(command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"bucket {what}: {done.stderr}")
        return done.stdout

    def keep_versions(self):
        """The bucket keeps what is overwritten and deleted, from now on."""
        self._bucket("version")

    def encryption_problems(self) -> list[str]:
        """Data files under `encrypted/` that are not encrypted with the server's key, or not in the storage class."""
        return self._bucket("encrypted").splitlines()

    def lifecycle_problems(self) -> list[str]:
        """What is wrong with the bucket's lifecycle rules, and with the tags that they go by."""
        return self._bucket("lifecycle").splitlines()
