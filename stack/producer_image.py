"""The producer's image: built on the stack's engine, rebuilt only if its inputs have changed."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack.errors import NoImageError, StackError
from stack.settings import DEBIAN_IMAGE, PRODUCER_IMAGE, PYTHON_IMAGE, REPOSITORY

LABEL = "tripclick.inputs"
PRODUCER = Path("jobs", "producer")
WHEELS = PRODUCER / "wheels"
SILENCE_SECONDS = 20
PULL_SECONDS = 180
# Python, and what building and running an image needs besides: a shell, rm, Debian's folders.
DEBIAN_PACKAGES = ("python3", "python3-venv", "ca-certificates", "base-files", "coreutils", "dash", "libc-bin")
JOIN_CERTIFICATES = 'cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1"/etc/ssl/certs/ca-certificates.crt'


def ensure_image(engine_url: str, scratch: Path, say: Callable[[str], None] = lambda _: None) -> str:
    """Build the image on this engine if missing; returns how it was obtained. `say` reports each longer step.

    NoImageError: it cannot be obtained on this machine; any other StackError: the build failed.
    """
    import docker

    client = docker.DockerClient(base_url=engine_url, timeout=SILENCE_SECONDS)
    try:
        inputs = fingerprint(context_files())
        if _label(client, PRODUCER_IMAGE) == inputs:
            return "image is up to date"
        base = _base_image(client, scratch, say)
        say(f"building {PRODUCER_IMAGE}…")
        _download_wheels(_python(client, base))
        _build(client, base, inputs)
    except (docker.errors.DockerException, OSError) as error:
        raise StackError(f"the image {PRODUCER_IMAGE} cannot be built: {error}") from error
    else:
        return f"image built on {base}"
    finally:
        client.close()


def context_files(root: Path = REPOSITORY) -> list[Path]:
    """What the image is built from, as paths below the repository; the lock file among them names the wheels."""
    shared = list((root / "jobs").glob("*.py"))
    own = [path for path in (root / PRODUCER).rglob("*") if path.is_file()]
    paths = (path.relative_to(root) for path in [*shared, *own])
    return sorted(path for path in paths if WHEELS not in path.parents and "__pycache__" not in path.parts)


def fingerprint(files: list[Path], root: Path = REPOSITORY) -> str:
    """A hash of these files' names and contents."""
    digest = hashlib.sha256()
    for path in files:
        content = (root / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _label(client: Any, image: str) -> str | None:
    import docker

    try:
        labels = client.images.get(image).labels
    except docker.errors.ImageNotFound:
        return None
    value: str | None = labels.get(LABEL)
    return value


def _base_image(client: Any, scratch: Path, say: Callable[[str], None]) -> str:
    """Docker's Python image if it is there or can be pulled, else a Debian from this machine's package archive."""
    import docker

    for image in (PYTHON_IMAGE, DEBIAN_IMAGE):
        if client.images.list(name=image):
            return image
    say(f"pulling {PYTHON_IMAGE}…")
    try:
        _pull(client, PYTHON_IMAGE)
    except (docker.errors.DockerException, OSError):
        say(f"{PYTHON_IMAGE} cannot be pulled: building {DEBIAN_IMAGE} from Debian's packages…")
        _debian_image(client, scratch)
        return DEBIAN_IMAGE
    return PYTHON_IMAGE


def _pull(client: Any, image: str) -> None:
    """Pull; OSError when the registry is silent for SILENCE_SECONDS or slower than PULL_SECONDS."""
    repository, tag = image.split(":")
    deadline = time.monotonic() + PULL_SECONDS
    for step in client.api.pull(repository, tag=tag, stream=True, decode=True):
        if "error" in step:
            raise OSError(step["error"])
        if time.monotonic() > deadline:
            raise TimeoutError(f"pulling {image} takes more than {PULL_SECONDS} s")


def _debian_image(client: Any, scratch: Path) -> None:
    archive = scratch / "base.tar"
    # Unpacked but not configured: no package's script runs, which would compile all of Python's library and take four
    # times as long. The work of ca-certificates' script is done here.
    options = ["--variant=extract", f"--include={','.join(DEBIAN_PACKAGES)}", f"--customize-hook={JOIN_CERTIFICATES}"]
    try:
        done = subprocess.run(
            ["mmdebstrap", *options, _debian_release(), str(archive)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise NoImageError(
            f"{PYTHON_IMAGE} cannot be pulled, and mmdebstrap, which makes a base image from Debian's packages, "
            "is not installed (Debian: apt-get install mmdebstrap)"
        ) from error
    if done.returncode:
        raise NoImageError(f"{PYTHON_IMAGE} cannot be pulled, and mmdebstrap failed:\n{done.stderr[-800:]}")
    name, tag = DEBIAN_IMAGE.split(":")
    client.api.import_image(src=str(archive), repository=name, tag=tag)
    archive.unlink()


def _debian_release() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    return release.get("VERSION_CODENAME", "bookworm") if release.get("ID") == "debian" else "bookworm"


def _python(client: Any, image: str) -> str:
    """The version of an image's Python, as 3.12: librdkafka's client has a wheel for each."""
    asked = ["python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    said: bytes = client.containers.run(image, asked, remove=True, network_mode="host")
    return said.decode().strip()


def _download_wheels(python: str) -> None:
    """The producer's packages for this Python, by hash, so that the build itself needs no network."""
    lock = ["--require-hashes", "-r", str(REPOSITORY / PRODUCER / "requirements.lock")]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={python}"]
    options += ["--dest", str(REPOSITORY / WHEELS)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, *lock], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoImageError(f"the producer's packages cannot be downloaded:\n{done.stderr[-800:]}")


def _build(client: Any, base: str, inputs: str) -> None:
    """Build from a context with only the image's files; shows the engine's output if it fails."""
    files = [*context_files(), *(path.relative_to(REPOSITORY) for path in (REPOSITORY / WHEELS).glob("*.whl"))]
    arguments = {"BASE_IMAGE": base, "PIP_OPTIONS": f"--no-index --find-links {WHEELS}"}
    said: list[str] = []
    with io.BytesIO(_archive(files)) as context:
        steps = client.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile=str(PRODUCER / "Dockerfile"),
            tag=PRODUCER_IMAGE,
            network_mode="host",
            buildargs=arguments,
            labels={LABEL: inputs},
            rm=True,
            forcerm=True,
            decode=True,
            timeout=600,
        )
        for step in steps:
            said.append(str(step.get("stream") or step.get("error") or ""))
            if "error" in step:
                raise StackError(f"the image {PRODUCER_IMAGE} cannot be built:\n{''.join(said)[-1500:]}")


def _archive(files: list[Path]) -> bytes:
    """A tar of these files, readable by all: the repository may not be, and the image's user is another."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            entry = archive.gettarinfo(REPOSITORY / path, arcname=str(path))
            entry.mode = 0o755 if os.access(REPOSITORY / path, os.X_OK) else 0o644
            entry.uid = entry.gid = 0
            with (REPOSITORY / path).open("rb") as content:
                archive.addfile(entry, content)
    return buffer.getvalue()
