"""Installs the peers by their ordinary registries, into a cache folder outside the clone, once for each version."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracewell" / "peers"
# MinIO has no module versions that Go takes; this is the last state of its module.
MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"

JAVA_MIN = 17


class Missing(Exception):
    """A tool that this test needs is not on this machine."""


def need(program: str) -> str:
    """Where a program is."""
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not installed")
    return found


def call(*command, cwd=None, env=None) -> None:
    """Runs an installation's step; its output shows only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _once(mark: Path, wanted: str, install) -> None:
    """Installs when the mark does not say that this very version is there."""
    if mark.exists() and mark.read_text() == wanted:
        return
    mark.unlink(missing_ok=True)
    print(f"   installing {mark.stem} into {CACHE}", flush=True)
    install()
    mark.write_text(wanted)


def _venv(name: str, requirements: Path, *others: Path) -> Path:
    """The Python of a virtual environment with these requirements, made anew when one of the files changes."""
    venv = CACHE / name

    def install():
        shutil.rmtree(venv, ignore_errors=True)
        call(sys.executable, "-m", "venv", venv)
        call(venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)

    CACHE.mkdir(parents=True, exist_ok=True)
    _once(CACHE / f"{name}.mark", _digest(requirements, *others) + sys.version, install)
    return venv / "bin" / "python"


def python() -> Path:
    """The Python of a virtual environment with everything of python/requirements.txt."""
    return _venv("venv", HERE / "python" / "requirements.txt")


def spark() -> tuple[Path, dict[str, str]]:
    """A Python with Spark and all that `python` has, and the environment in which Spark finds Java and Delta's jars."""
    java = _java()
    for program in ("make", "cc"):
        need(program)  # libfaketime is built from its source
    tables, jars = HERE / "tables", CACHE / "jars"
    interpreter = _venv("venv-spark", tables / "requirements.txt", HERE / "python" / "requirements.txt")
    warehouse = CACHE / "warehouse"
    environment = {"JAVA_HOME": str(java), "PEERS_JARS": str(jars), "PEERS_SPARK": str(warehouse)}
    program = tables / "spark_engine.py"
    _once(CACHE / "jars.mark", _digest(program), lambda: call(interpreter, program, env=environment))
    return interpreter, environment


def _java() -> Path:
    """The home of a Java that Spark takes."""
    home = os.environ.get("JAVA_HOME")
    program = Path(home, "bin", "java") if home else Path(need("java"))
    told = subprocess.run([program, "-XshowSettings:properties", "-version"], capture_output=True, text=True).stderr
    settings = {key.strip(): value for key, _, value in (line.partition(" = ") for line in told.splitlines())}
    version = settings.get("java.specification.version", "0")
    if not version.isdigit() or int(version) < JAVA_MIN:
        raise Missing(f"Spark wants Java {JAVA_MIN} or newer; {program} is {version}")
    return Path(settings["java.home"])


def faketime(interpreter: Path) -> Path:
    """libfaketime, which makes a process's clocks run faster."""
    found = sorted(interpreter.parent.parent.rglob("libfaketime.so.1"))
    if not found:
        raise Missing("libfaketime is not to be had on this system")
    return found[0]


def node() -> tuple[str, Path]:
    """Node, and the sender in a folder where its packages are."""
    program, npm, source, folder = need("node"), need("npm"), HERE / "node", CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "send.mjs"):
        shutil.copyfile(source / name, folder / name)
    lock = source / "package-lock.json"
    _once(CACHE / "node.mark", _digest(lock), lambda: call(npm, "ci", "--no-fund", "--no-audit", cwd=folder))
    return program, folder / "send.mjs"


def go() -> Path:
    """The sender in Go, built."""
    program, source, built = need("go"), HERE / "go", CACHE / "bin" / "peer-go"

    def install():
        # Low parallelism: the machine may be small, and others may be at work on it.
        call(program, "build", "-p", "2", "-o", built, ".", cwd=source)

    built.parent.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    _once(CACHE / "go.mark", _digest(*(source / n for n in ("go.mod", "go.sum", "main.go"))) + version, install)
    return built


def minio() -> Path:
    """The MinIO server, built from its Go module."""
    program, folder = need("go"), CACHE / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"GOBIN": str(folder), "GOFLAGS": "-trimpath -buildvcs=false"}
    _once(CACHE / "minio.mark", MINIO, lambda: call(program, "install", "-p", "2", MINIO, env=environment))
    return folder / "minio"


def tracewell() -> Path:
    """The binary under test: TRACEWELL_BIN, or built here."""
    if named := os.environ.get("TRACEWELL_BIN"):
        return Path(named).resolve()
    target = os.environ.get("CARGO_TARGET_DIR") or str(CACHE.parent / "target")
    call(need("cargo"), "build", "--locked", "--bin", "tracewell", cwd=ROOT, env={"CARGO_TARGET_DIR": target})
    return Path(target).resolve() / "debug" / "tracewell"
