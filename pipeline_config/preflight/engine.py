"""Docker: an engine that answers, the image, and the folders that its containers read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pipeline_config.preflight.probe import ANSWER_SECONDS, LIMIT_SECONDS, Caution, Failure, Once, Probe
from pipeline_config.preflight.settings import Connection, Settings
from pipeline_config.preflight.uses import Asked

if TYPE_CHECKING:
    from docker import DockerClient


def ask(asked: Asked) -> list[Probe]:
    """Of the engine, and of what its containers are made of and read."""
    images: dict[str, list[str]] = {}
    builds: dict[str, str] = {}
    for use in asked.uses:
        arguments = use.operator.arguments
        if use.connection == asked.name and "image" in arguments:
            image = str(arguments["image"])
            folders = images.setdefault(image, [])
            folders += [name for name, kind in use.variables.items() if kind == "path" and name not in folders]
            builds[image] = str(arguments.get("dockerfile", ""))
    return probes(asked.settings, asked.name, images, builds) if images else []


def probes(settings: Settings, name: str, images: dict[str, list[str]], dockerfiles: Mapping[str, str]) -> list[Probe]:
    """One of the engine, one of each image, and one of each folder that an image's containers read.

    Folders are variables that hold a path on the engine's host; `dockerfiles` are those of the images that have one.
    """
    client = Once(name, lambda: _client(settings.connection(name), name))
    fix = f"check the engine, its firewall, and the address in {name}"

    def engine() -> str:
        return _engine(settings.connection(name), client.own())

    found = [Probe(name, engine, fix)]
    for image, folders in images.items():
        identity = Once(f"image {image}", partial(_image, client, image, dockerfiles.get(image, "")))
        found.append(Probe(identity.what, identity.own, fix))
        # A container that starts needs longer than an answer.
        limit = 3 * LIMIT_SECONDS
        found += [Probe(folder, partial(_folder, settings, client, identity, folder), fix, limit) for folder in folders]
    return found


def engine_url(connection: Connection) -> str:
    """A Docker connection as the engine's URL."""
    from pipeline_config import docker_connection

    return docker_connection.engine_url(connection.host, connection.port, connection.extra)


def _engine(connection: Connection, client: DockerClient) -> str:
    """Which one it is; Caution if it uses plaintext."""
    from pipeline_config import docker_connection

    url = engine_url(connection)
    found = f"{url}, Docker {client.version()['Version']}"
    if docker_connection.is_plaintext(url, connection.extra):
        raise Caution(f"{found}, in plaintext: whoever reaches it is root there", "use TLS or ssh://")
    return found


def _client(connection: Connection, name: str) -> DockerClient:
    import docker

    from pipeline_config import docker_connection

    url = engine_url(connection)
    try:
        tls = docker_connection.engine_tls(url, connection.extra)
        client = docker.DockerClient(base_url=url, tls=tls, timeout=ANSWER_SECONDS)
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise Failure(
            f"no Docker engine answers at {url} ({_reason(error)})", f"start it, or correct {name}"
        ) from error
    return client


def _image(client: Once[DockerClient], image: str, dockerfile: str) -> str:
    import docker

    from pipeline_config import docker_connection

    try:
        identity: str = client.needed().images.get(image).short_id
    except docker.errors.ImageNotFound:
        raise Failure("the engine has no such image", docker_connection.how_to_build(image, dockerfile)) from None
    return identity


def _folder(settings: Settings, client: Once[DockerClient], image: Once[str], variable: str) -> str:
    """List the folder in a container, as the job's user there and by the same kind of mount."""
    import docker

    folder = settings.variable(variable)
    identity = image.needed()
    mount = docker.types.Mount(target=folder, source=folder, type="bind", read_only=True)
    try:
        client.needed().containers.run(
            identity, entrypoint=["ls", folder], mounts=[mount], network_mode="none", stderr=True, remove=True
        )
    except docker.errors.ContainerError as error:
        why = (error.stderr or b"").decode(errors="replace").strip()
        raise Failure(f"{folder}: {why}", "let the image's user read it on the engine's host (chmod o+rx)") from None
    except docker.errors.APIError as error:
        fix = f"create that folder on the engine's host, or correct {variable}"
        raise Failure(f"{folder}: {error.explanation}", fix) from None
    return f"{folder}, readable in a container"


def _reason(error: Exception) -> str:
    text = str(error)
    known = ("Connection refused", "timed out", "Name or service not known", "No such file")
    return next((words for words in known if words in text), text.splitlines()[0] if text else type(error).__name__)
