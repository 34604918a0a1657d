"""What the cluster's configuration says about every Application."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maskinporten_operator.model.resources import CILIUM_POLICY, FQDN_POLICY

if TYPE_CHECKING:
    from collections.abc import Collection

    from maskinporten_operator.model.resources import Kind

PlatformName = Literal["gcp", "onprem", "generic"]
Backend = Literal["networkpolicy", "fqdn-gke", "cilium", "none"]
Wanted = Literal["auto", "networkpolicy", "fqdn-gke", "cilium", "none"]

PUBLISHED_ADDRESSES = {
    "maskinporten.no": ("139.105.36.164/32", "2a02:9cc::201/128"),
    "test.maskinporten.no": ("139.105.36.132/32", "2a02:9cc::301/128"),
}
"""Maskinporten's addresses by host, as DigDir publishes them."""


@dataclass(frozen=True, slots=True)
class Webproxy:
    """The web proxy of pods on premises.

    Attributes:
        url: Its address, with scheme and port.
        exclude: Hosts, domains with a leading dot, and networks that are reached without it.
        cidrs: Its addresses; if none are known, policies without host names open its port to every address.
    """

    url: str
    host: str
    port: int
    exclude: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform that the cluster runs on.

    Attributes:
        cluster: The cluster's name, to which rules may be restricted.
        workloads: Whether Deployments and Services are made here.
        backend: What egress policies are made with.
        cidrs: Maskinporten's addresses, for policies without host names.
        webproxy: The proxy, if there is one.
        run_as_user: The user and group of the pods.
    """

    name: PlatformName = "generic"
    cluster: str = ""
    workloads: bool = True
    backend: Backend = "none"
    hosts: tuple[str, ...] = ()
    port: int = 443
    cidrs: tuple[str, ...] = ()
    webproxy: Webproxy | None = None
    run_as_user: int = 1069

    def uses_webproxy(self, *, wanted: bool) -> bool:
        """Whether an application that wants the proxy gets it; never on gcp, where policies allow the hosts instead."""
        return wanted and self.name != "gcp" and self.webproxy is not None


def choose_backend(wanted: Wanted, platform: PlatformName, served: Collection[Kind]) -> Backend:
    """Choose what egress policies are made with.

    `auto` is none on a generic cluster: the first policy isolates a pod that had free egress.
    """
    if wanted != "auto":
        return wanted
    if platform == "generic":
        return "none"
    if FQDN_POLICY in served:
        return "fqdn-gke"
    return "cilium" if CILIUM_POLICY in served else "networkpolicy"


def find_published_addresses(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Find the networks of Maskinporten's hosts; a host that is an address is its own."""
    found: list[str] = []
    for host in hosts:
        if address := find_network(host):
            found.append(address)
        found += PUBLISHED_ADDRESSES.get(host, ())
    return tuple(found)


def find_network(host: str) -> str | None:
    """Give the network of a single address; None for a host's name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return f"{address}/{address.max_prefixlen}"
