"""The egress policies of an Application: to Maskinporten, the proxy, and what its spec names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import CILIUM_POLICY, FQDN_POLICY, GKE_FQDN_POLICY, NETWORK_POLICY
from maskinporten_operator.plan.application_metadata import build_child_metadata
from maskinporten_operator.plan.platform import METADATA_SERVER, find_network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.model.application import ApplicationSpec, External, Rule
    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.plan.platform import Platform, Pods

FQDN_KINDS = (FQDN_POLICY, GKE_FQDN_POLICY)
POLICY_KINDS = (*FQDN_KINDS, CILIUM_POLICY, NETWORK_POLICY)
"""In the order of their writes: what a NetworkPolicy opens stays open until the others changed."""
HTTPS_PORT = 443
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
CILIUM_NAMESPACE_LABEL = "k8s:io.kubernetes.pod.namespace"
BACKENDS_WITH_HOSTS = frozenset({"fqdn-gke", "cilium"})
Ports = tuple[tuple[int, str], ...]
"""Numbers and protocols; none stands for every port."""


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
            return [(CILIUM_POLICY, _build_cilium_policy(meta, targets, platform.dns))]
        case "fqdn-gke":
            kind, network_policy = platform.fqdn_kind, _build_network_policy(meta, targets, platform.dns)
            hosts = [one for one in targets.hosts if _has_wildcards(kind) or not one[0][0].startswith("*.")]
            named = [(kind, _build_fqdn_policy(kind, meta, hosts))] if hosts else []
            return [*named, (NETWORK_POLICY, network_policy)]
        case _:
            return [(NETWORK_POLICY, _build_network_policy(meta, targets, platform.dns))]


def build_network_policy_of(meta: ObjectMeta, egress: list[dict[str, Any]]) -> dict[str, Any]:
    """Build the NetworkPolicy with these rules."""
    spec = {"podSelector": {"matchLabels": {"app": meta.name}}, "policyTypes": ["Egress"], "egress": egress}
    return _build_policy(NETWORK_POLICY, meta, meta.name, spec)


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
        elif (
            one.host and one.host.startswith("*.") and backend == "fqdn-gke" and not _has_wildcards(platform.fqdn_kind)
        ):
            found.append(f"{path}.host ({platform.fqdn_kind.version} of FQDNNetworkPolicy has no wildcards)")
    rules = outbound.rules if outbound else ()
    return found + find_rules_of_others("spec.accessPolicy.outbound", rules, platform)


def find_rules_of_others(path: str, rules: Iterable[Rule], platform: Platform) -> list[str]:
    """Find the rules of other clusters, which have no effect in this one, if its name is known."""
    return [
        f"{path}.rules[{number}] (of the cluster {one.cluster})"
        for number, one in enumerate(rules)
        if platform.cluster and not one.holds_in(platform.cluster)
    ]


def find_targets(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    """Find where the application may connect to, and what is open to all if that is anything."""
    found = [_find_proxy(spec, platform), _find_maskinporten(spec, platform), _find_named(spec, platform)]
    if spec.access_policy.outbound or any(not part.is_empty for part in found):
        found.append(_find_always(spec, platform))
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


def _find_always(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    """Find the cluster's own addresses; those who use Google Cloud get their tokens from one of them."""
    metadata_server = (METADATA_SERVER,) if platform.name == "gcp" and spec.gcp is not None else ()
    networks = tuple(dict.fromkeys((*platform.always, *metadata_server)))
    return EgressTargets(networks=((networks, ()),) if networks else ())


def _find_named(spec: ApplicationSpec, platform: Platform) -> EgressTargets:
    outbound = spec.access_policy.outbound
    if outbound is None:
        return EgressTargets()
    return EgressTargets(
        tuple(((one.host,), _find_ports(one) or ((HTTPS_PORT, "TCP"),)) for one in outbound.external if one.host),
        tuple(((f"{one.ipv4}/32",), _find_ports(one)) for one in outbound.external if one.ipv4),
        tuple(one for one in outbound.rules if one.holds_in(platform.cluster)),
    )


def _find_ports(external: External) -> Ports:
    return tuple((one.port, _find_transport(one.protocol)) for one in external.ports)


def _find_transport(protocol: str) -> str:
    """Find what a protocol goes over; manifests of the platform name HTTPS, GRPC and others too."""
    return protocol.upper() if protocol.upper() in {"UDP", "SCTP"} else "TCP"


def _has_wildcards(kind: Kind) -> bool:
    return kind == GKE_FQDN_POLICY


def _build_network_policy(meta: ObjectMeta, targets: EgressTargets, dns: Iterable[Pods]) -> dict[str, Any]:
    egress: list[dict[str, Any]] = [
        {"to": [build_pods_peer(one) for one in servers], "ports": _build_ports(((port, "UDP"), (port, "TCP")))}
        for port, servers in _group_by_port(dns)
    ]
    for networks, ports in targets.networks:
        to = {"to": [{"ipBlock": {"cidr": one}} for one in networks]} if networks else {}
        egress.append({**to, "ports": _build_ports(ports)})  # an empty list, so that a port that is added differs
    egress += [{"to": [build_peer(rule)]} for rule in targets.rules]
    return build_network_policy_of(meta, egress)


def build_peer(rule: Rule) -> dict[str, Any]:
    """Build the selectors of a NetworkPolicy for applications in the cluster."""
    pods = {} if rule.application == "*" else {"matchLabels": {"app": rule.application}}
    if rule.namespace is None:
        return {"podSelector": pods}
    namespaces = {} if rule.namespace == "*" else {"matchLabels": {NAMESPACE_LABEL: rule.namespace}}
    return {"namespaceSelector": namespaces, "podSelector": pods}


def _group_by_port(dns: Iterable[Pods]) -> list[tuple[int, list[Pods]]]:
    groups: dict[int, list[Pods]] = {}
    for one in dns:
        groups.setdefault(one.port, []).append(one)
    return list(groups.items())


def build_pods_peer(pods: Pods) -> dict[str, Any]:
    """Build the selectors of a NetworkPolicy for what the cluster's configuration names."""
    if pods.network:
        return {"ipBlock": {"cidr": pods.network}}
    selected = {"podSelector": {"matchLabels": dict(pods.labels)}} if pods.labels else {}
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: pods.namespace}}, **selected}


def _build_fqdn_policy(kind: Kind, meta: ObjectMeta, hosts: Iterable[tuple[tuple[str, ...], Ports]]) -> dict[str, Any]:
    build_peers = _build_matches if kind == GKE_FQDN_POLICY else _build_fqdns
    egress = [{**build_peers(names), "ports": _build_ports(ports)} for names, ports in hosts]
    types = {} if kind == GKE_FQDN_POLICY else {"policyTypes": ["Egress"]}
    spec = {"podSelector": {"matchLabels": {"app": meta.name}}, **types, "egress": egress}
    return _build_policy(kind, meta, f"{meta.name}-fqdn", spec)


def _build_fqdns(names: Iterable[str]) -> dict[str, Any]:
    return {"to": [{"fqdns": list(names)}]}


def _build_matches(names: Iterable[str]) -> dict[str, Any]:
    return {"matches": [{"pattern" if name.startswith("*.") else "name": name} for name in names]}


def _build_cilium_policy(meta: ObjectMeta, targets: EgressTargets, dns: Iterable[Pods]) -> dict[str, Any]:
    egress = [rule for port, servers in _group_by_port(dns) for rule in _build_cilium_dns(port, servers)]
    for names, ports in targets.hosts:
        selectors = [{"matchPattern" if name.startswith("*.") else "matchName": name} for name in names]
        egress.append({"toFQDNs": selectors, "toPorts": [{"ports": _build_cilium_ports(ports)}]})
    for networks, ports in targets.networks:
        to = {"toCIDR": list(networks)} if networks else {"toEntities": ["all"]}
        egress.append({**to, **({"toPorts": [{"ports": _build_cilium_ports(ports)}]} if ports else {})})
    egress += [{"toEndpoints": [_build_endpoint(meta, rule)]} for rule in targets.rules]
    spec = {"endpointSelector": {"matchLabels": {"app": meta.name}}, "egress": egress}
    return _build_policy(CILIUM_POLICY, meta, meta.name, spec)


def _build_cilium_dns(port: int, servers: Iterable[Pods]) -> list[dict[str, Any]]:
    """Build the ways to the names; Cilium also learns from the answers which addresses they stand for.

    An address is that of a cache on the node, which is a part of the node to Cilium unless it redirects to its pod.
    """
    answers = {
        "toPorts": [{"ports": [{"port": str(port), "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}]
    }
    rules: list[dict[str, Any]] = []
    if pods := [{CILIUM_NAMESPACE_LABEL: one.namespace, **dict(one.labels)} for one in servers if one.namespace]:
        rules.append({"toEndpoints": [{"matchLabels": labels} for labels in pods], **answers})
    if networks := [one.network for one in servers if one.network]:
        rules += [{"toCIDR": networks, **answers}, {"toEntities": ["host"], **answers}]
    return rules


def _build_endpoint(meta: ObjectMeta, rule: Rule) -> dict[str, Any]:
    labels = {} if rule.application == "*" else {"app": rule.application}
    if rule.namespace == "*":
        # Without a namespace Cilium takes the policy's own: that there is one must be said.
        return {
            **({"matchLabels": labels} if labels else {}),
            "matchExpressions": [{"key": CILIUM_NAMESPACE_LABEL, "operator": "Exists"}],
        }
    return {"matchLabels": {CILIUM_NAMESPACE_LABEL: rule.namespace or meta.namespace, **labels}}


def _build_ports(ports: Ports) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": protocol} for port, protocol in ports]


def _build_cilium_ports(ports: Ports) -> list[dict[str, Any]]:
    return [{"port": str(port), "protocol": protocol} for port, protocol in ports]


def _build_policy(kind: Kind, meta: ObjectMeta, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": build_child_metadata(meta, name),
        "spec": spec,
    }
