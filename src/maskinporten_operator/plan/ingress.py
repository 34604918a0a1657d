"""The Ingresses of an Application: by which hosts and paths it is reached from outside the cluster."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import DNS_SUBDOMAIN_PATTERN, INGRESS
from maskinporten_operator.plan.application_metadata import build_child_metadata, find_controller_annotations
from maskinporten_operator.plan.ingress_classes import find_classes
from maskinporten_operator.plan.platform import find_network

if TYPE_CHECKING:
    from collections.abc import Collection

    from maskinporten_operator.model.application import ApplicationSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform, Pods

MAX_NAME_PREFIX_LENGTH = 54
BACKEND_PROTOCOL = "nginx.ingress.kubernetes.io/backend-protocol"
# What a path of an Ingress may be as it stands: nothing that the API server refuses, nor that controllers take for an
# expression.
_SEGMENT = r"(?!\.{1,2}(?:/|$))(?:[-._~!&',;=:@0-9A-Za-z]|%(?!2[fF])[0-9A-Fa-f]{2})+"
# The length is looked at first, since the pattern of names takes long over a text without dots.
_URL = re.compile(
    rf"https://(?=[^/]{{1,253}}(?:/|$))(?P<host>{DNS_SUBDOMAIN_PATTERN[1:-1]})(?P<path>(?:/{_SEGMENT})*)/*"
)
# Also with leading zeros: the API server takes no address for a host, however it is written.
_ADDRESS = re.compile(r"\d+(?:\.\d+){3}")


@dataclass(frozen=True, slots=True)
class Route:
    """A host, and the path with which all paths below it lead to an Application."""

    host: str
    path: str


def parse_route(url: str) -> Route | None:
    """Read `https://host/path`; None for what an Ingress can't say or leads elsewhere, such as a port or a query."""
    match = _URL.fullmatch(url)
    if match is None or _ADDRESS.fullmatch(match["host"]) or find_network(match["host"]):
        return None
    return Route(match["host"], match["path"] or "/")


def build_ingress_name(application: str, ingress_class: str) -> str:
    """Build the name as the NAIS platform does: cut to fit, and unique by a CRC-32 (IEEE) of all of it."""
    whole = f"{application}-{ingress_class}"
    # No name has a dash after a dot; classes have dots on some platforms.
    return f"{whole[:MAX_NAME_PREFIX_LENGTH].rstrip('.')}-{zlib.crc32(whole.encode()):08x}"


def build_ingresses(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform) -> list[dict[str, Any]]:
    """Build one Ingress for each class that serves one of the hosts."""
    return [_build_ingress(meta, spec, name, routes) for name, routes in _find_routes(spec, platform).items()]


def has_ingress(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether any Ingress is made."""
    return platform.workloads and bool(spec.image and _find_routes(spec, platform))


def find_controllers(spec: ApplicationSpec, platform: Platform, others: Collection[str] = ()) -> list[Pods]:
    """Find from where the controllers of an Application's Ingresses call it, and those of `others`, classes too."""
    used = {*_find_routes(spec, platform), *others}
    return [pods for name, pods in platform.ingress_controllers if name in used]


def find_unrouted(spec: ApplicationSpec, platform: Platform) -> list[str]:
    """Find the URLs by which an Application isn't reached, each with the reason."""
    if not spec.ingresses or not platform.workloads:
        return []
    if not platform.ingress_classes:
        return ["spec.ingresses (no Ingresses are made in this cluster)"]
    found = []
    for number, url in enumerate(spec.ingresses):
        route = parse_route(url)
        if route is None:
            found.append(f"spec.ingresses[{number}] (no https:// with a host in small letters and a plain path)")
        elif not find_classes(route.host, platform.ingress_classes):
            found.append(f"spec.ingresses[{number}] (no ingress class of this cluster serves the host)")
    return found


def _find_routes(spec: ApplicationSpec, platform: Platform) -> dict[str, list[Route]]:
    """Find the routes of each ingress class, each once."""
    found: dict[str, list[Route]] = {}
    for route in dict.fromkeys(filter(None, map(parse_route, spec.ingresses))):
        for name in find_classes(route.host, platform.ingress_classes):
            found.setdefault(name, []).append(route)
    return found


def _build_ingress(meta: ObjectMeta, spec: ApplicationSpec, ingress_class: str, routes: list[Route]) -> dict[str, Any]:
    metadata = build_child_metadata(meta, build_ingress_name(meta.name, ingress_class))
    annotations = _build_annotations(meta, spec)
    return {
        "apiVersion": INGRESS.api_version,
        "kind": INGRESS.name,
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
        "spec": {"ingressClassName": ingress_class, "rules": _build_rules(meta, spec, routes)},
    }


def _build_annotations(meta: ObjectMeta, spec: ApplicationSpec) -> dict[str, str]:
    """Build what controllers read, the user's word last, and where the platform asks whether the host answers."""
    probe = spec.liveness
    asked = {"prometheus.io/scrape": "true", "prometheus.io/path": probe.path} if probe else {}
    protocol = {BACKEND_PROTOCOL: "GRPC"} if spec.service.protocol == "grpc" else {}
    return {**asked, **protocol, **find_controller_annotations(meta)}


def _build_rules(meta: ObjectMeta, spec: ApplicationSpec, routes: list[Route]) -> list[dict[str, Any]]:
    backend = {"service": {"name": meta.name, "port": {"number": spec.service.port}}}
    return [
        {
            "host": host,
            "http": {
                "paths": [
                    {"path": one.path, "pathType": "Prefix", "backend": backend} for one in routes if one.host == host
                ]
            },
        }
        for host in dict.fromkeys(one.host for one in routes)
    ]
