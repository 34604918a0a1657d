"""The egress policies of an Application: to Maskinporten, the proxy, and what its spec names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import CILIUM_POLICY, FQDN_POLICY, NETWORK_POLICY
from maskinporten_operator.plan.owner_references import build_metadata
from maskinporten_operator.plan.platform import find_network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.model.application import ApplicationSpec, External, Rule
    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.plan.platform import Platform

POLICY_KINDS = (NETWORK_POLICY, FQDN_POLICY, CILIUM_POLICY)
HTTPS_PORT = 443
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_NAMESPACE = "kube-system"
NODE_LOCAL_DNS = "169.254.20.10/32"
BACKENDS_WITH_HOSTS = frozenset({"fqdn-gke", "cilium"})
Ports = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class EgressTargets:
    """Where an application may connect to, independent of the policy backend.

    Attributes:
        networks: Networks with ports; no network stands for every address.
    """

    hosts: tuple[tuple[tuple[str, ...], Ports], ...] = ()
    networks: tuple[tuple[tuple[str, ...], Ports], ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing may be reached."""
        return not (self.hosts or self.networks or self.rules)


def build_policies(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform) -> list[tuple[Kind, dict[str, Any]]]:
    """Build the policies of the configured backend; none if there is nothing to open, since they isolate the pod."""
    targets = find_targets(spec, platform)
    if platform.backend == "none" or (targets.is_empty and not spec.access_policy.outbound):
        return []
    match platform.backend:
        case "cilium":
            return [(CILIUM_POLICY, _build_cilium_policy(meta, targets))]
        case "fqdn-gke":
            policies = [(NETWORK_POLICY, _build_network_policy(meta, targets))]
            if hosts := [one for one in targets.hosts if not one[0][0].startswith("*.")]:
                policies.append((FQDN_POLICY, _build_fqdn_policy(meta, hosts)))
            return policies
        case _:
            return [(NETWORK_POLICY, _build_network_policy(meta, targets))]


def find_unexpressed(spec: ApplicationSpec, platform: Platform) -> list[str]:
    """Find the fields that the backend can't express, or that name nothing, each with the reason."""
    outbound, backend = spec.access_policy.outbound, platform.backend
    if backend == "none":
        return ["spec.accessPolicy.outbound (no egress policies are made in this cluster)"] if outbound else []
    found = []
    if backend == "networkpolicy" and spec.maskinporten.enabled and platform.name != "onprem" and not platform.cidrs:
        hosts = ", ".join(platform.hosts)
        found.append(f"spec.maskinporten (not opened: a cluster admin must set MASKINPORTEN_CIDRS for {hosts})")
    for number, one in enumerate(outbound.external if outbound else ()):
        path = f"spec.accessPolicy.outbound.external[{number}]"
        if not one.host and not one.ipv4:
            found.append(f"{path} (neither host nor ipv4)")
        elif one.host and backend == "networkpolicy":
            found.append(f"{path}.host (networkpolicy has no host names)")
        elif one.host and backend == "fqdn-gke" and one.host.startswith("*."):
            found.append(f"{path}.host (fqdn-gke has no wildcards)")
    return found


def find_targets(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    """Find where the application may connect to."""
    found = (_find_proxy(spec, platform), _find_maskinporten(spec, platform), _find_named(spec, platform))
    return EgressTargets(
        tuple(one for part in found for one in part.hosts),
        tuple(one for part in found for one in part.networks),
        tuple(one for part in found for one in part.rules),
    )


def _find_proxy(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    proxy = platform.webproxy
    if proxy is None or not platform.uses_webproxy(wanted=spec.webproxy):
        return EgressTargets()
    ports = ((proxy.port, "TCP"),)
    if network := find_network(proxy.host):
        return EgressTargets(networks=(((network,), ports),))
    if proxy.cidrs or platform.backend not in BACKENDS_WITH_HOSTS:
        return EgressTargets(networks=((proxy.cidrs, ports),))
    return EgressTargets(hosts=(((proxy.host,), ports),))


def _find_maskinporten(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    if not spec.maskinporten.enabled or platform.name == "onprem":  # from there the only way out is the proxy
        return EgressTargets()
    ports, addresses = ((platform.port, "TCP"),), platform.cidrs
    by_name = platform.backend in BACKENDS_WITH_HOSTS
    if named := tuple(host for host in platform.hosts if by_name and not find_network(host)):
        addresses = tuple(network for host in platform.hosts if (network := find_network(host)))
    return EgressTargets(((named, ports),) if named else (), ((addresses, ports),) if addresses else ())


def _find_named(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    outbound = spec.access_policy.outbound
    if outbound is None:
        return EgressTargets()
    return EgressTargets(
        tuple(((one.host,), _find_ports(one)) for one in outbound.external if one.host),
        tuple(((f"{one.ipv4}/32",), _find_ports(one)) for one in outbound.external if one.ipv4),
        tuple(one for one in outbound.rules if one.cluster in {None, platform.cluster}),
    )


def _find_ports(external: External) -> Ports:
    return tuple((one.port, _find_transport(one.protocol)) for one in external.ports) or ((HTTPS_PORT, "TCP"),)


def _find_transport(protocol: str) -> str:
    """Find what a protocol goes over; manifests of the platform name HTTPS, GRPC and others too."""
    return protocol.upper() if protocol.upper() in {"UDP", "SCTP"} else "TCP"


def _build_network_policy(meta: ObjectMeta, targets: EgressTargets) -> dict[str, Any]:
    dns = {
        "to": [
            {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: DNS_NAMESPACE}}},
            {"ipBlock": {"cidr": NODE_LOCAL_DNS}},
        ],
        "ports": _build_ports(((53, "UDP"), (53, "TCP"))),
    }
    egress: list[dict[str, Any]] = [dns]
    for networks, ports in targets.networks:
        to = {"to": [{"ipBlock": {"cidr": one}} for one in networks]} if networks else {}
        egress.append({**to, "ports": _build_ports(ports)})
    egress += [{"to": [_build_peer(rule)]} for rule in targets.rules]
    spec = {"podSelector": {"matchLabels": {"app": meta.name}}, "policyTypes": ["Egress"], "egress": egress}
    return _build_policy(NETWORK_POLICY, meta, meta.name, spec)


def _build_peer(rule: Rule) -> dict[str, Any]:
    pods = {} if rule.application == "*" else {"matchLabels": {"app": rule.application}}
    if rule.namespace is None:
        return {"podSelector": pods}
    namespaces = {} if rule.namespace == "*" else {"matchLabels": {NAMESPACE_LABEL: rule.namespace}}
    return {"namespaceSelector": namespaces, "podSelector": pods}


def _build_fqdn_policy(meta: ObjectMeta, hosts: Iterable[tuple[tuple[str, ...], Ports]]) -> dict[str, Any]:
    egress = [{"to": [{"fqdns": list(names)}], "ports": _build_ports(ports)} for names, ports in hosts]
    spec = {"podSelector": {"matchLabels": {"app": meta.name}}, "policyTypes": ["Egress"], "egress": egress}
    return _build_policy(FQDN_POLICY, meta, f"{meta.name}-fqdn", spec)


def _build_cilium_policy(meta: ObjectMeta, targets: EgressTargets) -> dict[str, Any]:
    # The DNS rule isn't only a way to the names: Cilium learns from the answers which addresses they stand for.
    dns = {
        "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": DNS_NAMESPACE, "k8s-app": "kube-dns"}}],
        "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}],
    }
    egress: list[dict[str, Any]] = [dns]
    for names, ports in targets.hosts:
        selectors = [{"matchPattern" if name.startswith("*.") else "matchName": name} for name in names]
        egress.append({"toFQDNs": selectors, "toPorts": [{"ports": _build_cilium_ports(ports)}]})
    for networks, ports in targets.networks:
        to = {"toCIDR": list(networks)} if networks else {"toEntities": ["all"]}
        egress.append({**to, "toPorts": [{"ports": _build_cilium_ports(ports)}]})
    egress += [{"toEndpoints": [_build_endpoint(meta, rule)]} for rule in targets.rules]
    spec = {"endpointSelector": {"matchLabels": {"app": meta.name}}, "egress": egress}
    return _build_policy(CILIUM_POLICY, meta, meta.name, spec)


def _build_endpoint(meta: ObjectMeta, rule: Rule) -> dict[str, Any]:
    labels = {} if rule.application == "*" else {"app": rule.application}
    if rule.namespace == "*":
        # Without a namespace Cilium takes the policy's own: that there is one must be said.
        return {
            **({"matchLabels": labels} if labels else {}),
            "matchExpressions": [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}],
        }
    return {"matchLabels": {"k8s:io.kubernetes.pod.namespace": rule.namespace or meta.namespace, **labels}}


def _build_ports(ports: Ports) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": protocol} for port, protocol in ports]


def _build_cilium_ports(ports: Ports) -> list[dict[str, Any]]:
    return [{"port": str(port), "protocol": protocol} for port, protocol in ports]


def _build_policy(kind: Kind, meta: ObjectMeta, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": build_metadata(meta, name),
        "spec": spec,
    }
