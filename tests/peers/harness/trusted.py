"""A daemon that speaks TLS and asks who one is, and SDKs that say so: by a token, or by a client certificate."""

import json
import subprocess
import tempfile
from pathlib import Path

from . import tools
from .daemon import CONFIG, Daemon

# The API stays in plain text on the loopback interface: what is asked here is asked with the token.
TRUST = """tls: {{ cert: {0}/server.pem, key: {0}/server.key, client_ca: {0}/ca.pem, client_auth: optional, api: {{ enabled: false }} }}
auth:
  credentials: {0}/credentials.yaml
  certificates: [{{ common_name: agent-1, scopes: [write, read] }}]
"""


class Trusted(Daemon):
    """`with Trusted() as t:` runs one. Senders have no credentials but those of `t.sender`."""

    def __init__(self):
        self.certificates = tempfile.TemporaryDirectory(prefix="tracewell-peers-certificates-")
        at, interpreter, binary = Path(self.certificates.name), tools.python(), tools.tracewell()
        tools.call(interpreter, tools.HERE / "python" / "certificates.py", at)
        new = [str(binary), "token", "new", "--name", "sdk", "--scope", "write", "--scope", "read", "--json"]
        made = json.loads(subprocess.run(new, check=True, capture_output=True).stdout)
        (at / "credentials.yaml").write_text(json.dumps({"tokens": [made["entry"]]}))
        self.token, self.at, self.sender = made["token"], at, {}
        super().__init__(config=CONFIG + TRUST.format(at), env={"TRACEWELL_TOKEN": made["token"]})

    def __exit__(self, *error):
        super().__exit__(*error)
        self.certificates.cleanup()

    def endpoint(self, protocol) -> str:
        port = (self.grpc if protocol == "grpc" else self.http).rsplit(":", 1)[1]
        return f"https://localhost:{port}"

    def sender_env(self) -> dict[str, str]:
        # Node's own check of servers is by another variable.
        ca = str(self.at / "ca.pem")
        # These would count before what the exporter is told.
        env = {name: value for name, value in self.env.items() if name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        return env | {"OTEL_EXPORTER_OTLP_CERTIFICATE": ca, "NODE_EXTRA_CA_CERTS": ca} | self.sender

    def with_token(self, token) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{token}"}

    def with_certificate(self, name) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(self.at / f"{name}.pem"),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(self.at / f"{name}.key"),
        }

    def checks(self, send_and_compare):
        """What was checked, and the problems found. An SDK whose tool is not there is left out: its own part says so."""
        python = [tools.python(), tools.HERE / "python" / "send.py"]
        senders = [("python grpc", python, "grpc"), ("python http", python, "http/protobuf")]
        for name, tool, protocol in [("go grpc", tools.go, "grpc"), ("node http", tools.node, "http/json")]:
            try:
                command = tool()
                senders.append((name, [command] if name == "go grpc" else command, protocol))
            except tools.Missing:
                pass
        for name, command, protocol in senders:
            self.sender = self.with_token(self.token)
            yield f"trust: {name} with a token", send_and_compare(self, command, protocol)
            self.sender = self.with_certificate("agent-1")
            yield f"trust: {name} with a client certificate", send_and_compare(self, command, protocol)
            for why, sender, words in [
                ("without credentials", {}, ["UNAUTHENTICATED", "Unauthenticated", "401"]),
                ("with a wrong token", self.with_token("twt_wrong"), ["UNAUTHENTICATED", "Unauthenticated", "401"]),
                ("with a certificate of another CA", self.with_certificate("stranger"), []),
            ]:
                self.sender = sender
                yield f"trust: {name} {why} is refused", self.refused(command, protocol, words)

    def refused(self, command, protocol, words) -> list[str]:
        """What is wrong with the refusal of a sender, which must fail and say one of these words."""
        out = self.path / "refused.json"
        command = [*command, "--protocol", protocol, "--endpoint", self.endpoint(protocol), "--out", out]
        # SDKs try again for a while where they think that helps. In Python the limit is in seconds, elsewhere in milliseconds.
        limit = "4" if "python" in str(command[0]) else "4000"
        env = self.sender_env() | {"OTEL_EXPORTER_OTLP_TIMEOUT": limit}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, timeout=120)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return ["the sender was let in"]
        return [] if not words or any(word in said for word in words) else [f"the sender says something else: {said[-2000:]}"]
