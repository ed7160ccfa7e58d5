"""Makes a CA and certificates in a folder: ca.pem; server, agent-1 and stranger (of another CA), each with .pem and .key."""

import sys
from pathlib import Path

import trustme


def write(folder, name, certificate):
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")


def main(folder):
    folder = Path(folder)
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    write(folder, "server", ca.issue_cert("localhost", "127.0.0.1"))
    write(folder, "agent-1", ca.issue_cert("agent-1", common_name="agent-1"))
    write(folder, "stranger", other.issue_cert("agent-1", common_name="agent-1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
