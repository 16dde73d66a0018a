"""Network namespaces as hosts: they reach each other, and this process, by one bridge; the disks are this machine's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address

BRIDGE = "production0"
NETWORK = IPv4Network("10.98.7.0/24")


@dataclass(frozen=True)
class Host:
    """One of them."""

    name: str
    address: str
    bridge: str

    @property
    def namespace(self) -> str:
        """As `ip netns list` has it."""
        return f"{self.bridge}-{self.name}"

    @property
    def within(self) -> tuple[str, ...]:
        """The words before a command that start it there. `ip netns exec` would hide the control groups besides."""
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    def open_ports(self) -> set[int]:
        """On which somebody listens whom other hosts reach."""
        listening = subprocess.run(
            [*self.within, "ss", "--no-header", "--tcp", "--listening", "--numeric"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        places = (line.split()[3].rpartition(":") for line in listening)
        return {int(port) for address, _, port in places if not _is_loopback(address)}


@contextmanager
def network(
    names: Sequence[str], *, keep: bool = False, bridge: str = BRIDGE, addresses: IPv4Network = NETWORK
) -> Iterator[dict[str, Host]]:
    """Hosts of these names. With `keep` they are left for the next time, which then finds them."""
    first, *others = (str(address) for address in addresses.hosts())
    hosts = {name: Host(name, address, bridge) for name, address in zip(names, others, strict=False)}
    if not all(_exists(host) for host in hosts.values()):
        _remove(hosts.values(), bridge)
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{first}/{addresses.prefixlen}", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts.values():
            _add(host, addresses.prefixlen)
    try:
        yield hosts
    finally:
        if not keep:
            _remove(hosts.values(), bridge)


def _add(host: Host, prefix: int) -> None:
    ours = f"p-{host.name}"
    _ip("netns", "add", host.namespace)
    _ip("link", "add", "eth0", "netns", host.namespace, "type", "veth", "peer", "name", ours)
    _ip("link", "set", ours, "master", host.bridge, "up")
    _ip("-n", host.namespace, "address", "add", f"{host.address}/{prefix}", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", host.namespace, "link", "set", device, "up")


def _remove(hosts: Iterable[Host], bridge: str) -> None:
    """Also what a killed run has left."""
    for host in hosts:
        if _exists(host):
            _ip("netns", "delete", host.namespace)
    if subprocess.run(["ip", "link", "show", bridge], capture_output=True, check=False).returncode == 0:
        _ip("link", "delete", bridge)


def _exists(host: Host) -> bool:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return host.namespace in listed.split()


def _is_loopback(address: str) -> bool:
    """Of an address as ss writes it: with its device, in brackets, or `*`."""
    bare = address.strip("[]").partition("%")[0]
    return bare != "*" and ip_address(bare).is_loopback


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
