"""What the cluster's configuration says about every Application."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from maskinporten_operator.model.resources import CILIUM_POLICY, FQDN_POLICY, GKE_FQDN_POLICY, Kind

if TYPE_CHECKING:
    from collections.abc import Collection

PlatformName = Literal["gcp", "onprem", "generic"]
Backend = Literal["networkpolicy", "fqdn-gke", "cilium", "none"]
Defaults = Literal["auto", "nais", "none"]
Callers = Literal["auto", "networkpolicy", "none"]
Wanted = Literal["auto", "networkpolicy", "fqdn-gke", "cilium", "none"]

PUBLISHED_ADDRESSES = {
    "maskinporten.no": ("139.105.36.164/32", "2a02:9cc::201/128"),
    "test.maskinporten.no": ("139.105.36.132/32", "2a02:9cc::301/128"),
}
"""Maskinporten's addresses by host, as DigDir publishes them."""
METADATA_SERVER = "169.254.169.254/32"
"""Where pods on Google Cloud get the tokens of their service account."""


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
class Pods:
    """Pods of a namespace, all or those with the labels, or else a network.

    `port` is that of the pods themselves, since policies look at packets after a Service's address was replaced.
    """

    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    network: str | None = None
    port: int = 53


@dataclass(frozen=True, slots=True)
class IngressClass:
    """An ingress class and the hosts that it serves.

    Attributes:
        suffix: `example.com` is that host and all below it, `.example.com` only those below; empty is every host.
    """

    suffix: str
    name: str

    def serves(self, host: str) -> bool:
        """Whether a host is one of those."""
        below = self.suffix if self.suffix.startswith(".") else f".{self.suffix}"
        return not self.suffix or host == self.suffix or host.endswith(below)


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform that the cluster runs on.

    Attributes:
        cluster: The cluster's name, to which rules may be restricted.
        workloads: Whether Deployments and Services are made here.
        backend: What egress policies are made with.
        cidrs: Maskinporten's addresses, for policies without host names.
        fqdn_kind: Which policies for host names `fqdn-gke` makes: the add-on's or GKE's own.
        dns: Where pods ask for names.
        always: Networks that every policy opens, on each port.
        guards_inbound: Whether only those may call an Application whom its spec or `inbound_always` names.
        inbound_always: Who may call every Application, such as ingress controllers; their ports say nothing.
        ingress_classes: Which ingress class serves which hosts; without any, no Ingresses are made.
        pod_monitors: Whether Applications with metrics get a PodMonitor.
        ingress_controllers: By class, from where controllers call the Applications that it serves.
        webproxy: The proxy, if there is one.
        run_as_user: The user and group of the pods; None where the cluster chooses them.
        has_nais_defaults: Whether Applications get what the NAIS platform gives those that say nothing.
        service_accounts: Whether their pods run as a ServiceAccount of the Application's name.
        image_pull_secrets: By what their images are pulled.
    """

    name: PlatformName = "generic"
    cluster: str = ""
    workloads: bool = True
    backend: Backend = "none"
    hosts: tuple[str, ...] = ()
    port: int = 443
    cidrs: tuple[str, ...] = ()
    fqdn_kind: Kind = FQDN_POLICY
    dns: tuple[Pods, ...] = (Pods("kube-system"), Pods(network="169.254.20.10/32"))
    always: tuple[str, ...] = ()
    guards_inbound: bool = False
    inbound_always: tuple[Pods, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    ingress_controllers: tuple[tuple[str, Pods], ...] = ()
    pod_monitors: bool = False
    webproxy: Webproxy | None = None
    run_as_user: int | None = 1069
    has_nais_defaults: bool = False
    service_accounts: bool = False
    image_pull_secrets: tuple[str, ...] = ()

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
    if find_fqdn_kind(served):
        return "fqdn-gke"
    return "cilium" if CILIUM_POLICY in served else "networkpolicy"


def guards_inbound(wanted: Callers, platform: PlatformName) -> bool:
    """Whether callers are restricted; `auto` is by the platform, as the first policy closes a pod to all others."""
    return wanted == "networkpolicy" or (wanted == "auto" and platform != "generic")


def has_nais_defaults(wanted: Defaults, platform: PlatformName) -> bool:
    """Whether Applications get what the NAIS platform gives those that say nothing; `auto` is by the platform."""
    return wanted == "nais" or (wanted == "auto" and platform != "generic")


def find_fqdn_kind(served: Collection[Kind]) -> Kind | None:
    """Find the kind of policies for host names on GKE: what the add-on serves by any version isn't GKE's own."""
    return next((kind for kind in (FQDN_POLICY, GKE_FQDN_POLICY) if kind in served), None)


def check_backend(wanted: Wanted, served: Collection[Kind]) -> str | None:
    """Say why the backend that is asked for can't be used: what it has made before must stay as it is then."""
    needed = {"fqdn-gke": (FQDN_POLICY, GKE_FQDN_POLICY), "cilium": (CILIUM_POLICY,)}.get(wanted, ())
    if not needed or any(kind in served for kind in needed):
        return None
    kind = needed[0]
    return (
        f"the API server doesn't serve {kind.plural}.{kind.group}, which EGRESS={wanted} needs: a cluster admin must "
        "install it, or set another EGRESS"
    )


def parse_dns_server(text: str) -> Pods:
    """Read `namespace`, `namespace/label=value` or an address, each with `:port` or without.

    Raises:
        ValueError: It is none of them.
    """
    where, port = _split_port(text)
    if network := find_network(where):
        return Pods(network=network, port=port)
    if pods := _find_pods(where):
        return replace(pods, port=port)
    raise ValueError(
        "write namespaces or addresses, such as kube-system:53, openshift-dns/app=dns:5353 or 169.254.20.10"
    )


def parse_caller(text: str) -> Pods:
    """Read `namespace`, `namespace/label=value` or a network.

    Raises:
        ValueError: It is none of them.
    """
    if pods := _find_pods(text):
        return pods
    try:
        return Pods(network=str(ipaddress.ip_network(text)))
    except ValueError:
        raise ValueError(
            "write namespaces or networks, such as ingress-nginx, nais-system/app=x or 192.0.2.0/24"
        ) from None


def _find_pods(where: str) -> Pods | None:
    """Read a namespace, with a label or without."""
    namespace, slash, label = where.partition("/")
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9./_-]*)=([A-Za-z0-9._-]*)", label)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", namespace) or (slash and not match):
        return None
    return Pods(namespace, ((match[1], match[2]),) if match else ())


def _split_port(text: str) -> tuple[str, int]:
    """Split a port off; an IPv6 address with one has brackets."""
    match = re.fullmatch(r"(\[.*\]|[^:]*):([0-9]{1,5})", text)
    if not match:
        return text, 53
    if not 0 < int(match[2]) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return match[1], int(match[2])


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
