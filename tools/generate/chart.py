"""What the Helm chart has from the code: the CRDs as templates, and the settings as values with their schema."""

from __future__ import annotations

import json
import textwrap
import typing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import HttpUrl
from pydantic.alias_generators import to_camel

from maskinporten_operator.config import HOST_NAME_PATTERN, INTERVALS, SCOPES_PATTERN, SERVED_ADDRESSES, Config
from tools.generate.configuration import write_duration
from tools.generate.crds import render_crd
from tools.generate.values_schema import (
    ADDRESS,
    DURATION,
    INTERVAL_SETTING,
    NETWORK,
    NO_SPACE,
    PROXY,
    URL,
    build_schema,
    listing,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from maskinporten_operator.model.resources import Kind

CHART = Path(__file__).resolve().parents[2] / "deploy" / "chart"

PLACED: Mapping[str, str] = {
    "admin_client_id": "credentials.clientId",
    "admin_signer": "credentials.signer",
    "admin_key_id": "credentials.keyId",
    "admin_jwk_file": "credentials.jwk",
    "admin_cert_chain_file": "credentials.certificateChain",
    "admin_key_file": "credentials.privateKey",
    "admin_key_secret": "credentials.existingSecret",
    "ca_bundle": "caBundle",
    "namespaces": "namespaces",
    "namespace_selector": "namespaceSelector",
    "leader_election": "leaderElection",
    "lease_name": "leaderElection.leaseName",
    "lease_namespace": "leaderElection.leaseNamespace",
}
"""Settings that follow from a value of the chart, by the value; all others are below `settings`, in camelCase."""

ADDITIONS: Mapping[str, str] = {
    "cluster_name": "Required, but for a trial with the simulator.",
    "digdir_base_url": "Empty: that of `environment`, or the simulator.",
    "maskinporten_well_known_url": "Empty: that of `environment`, or the simulator's.",
    "applications": "The operator then gets the rights that this needs, and the CRD is installed.",
    "admin_key_rotation": "The operator then gets the right to read and write credentials.existingSecret.",
    "metrics_address": "Change the port here: container, Service and NetworkPolicy follow.",
    "health_address": "Change the port here: container and probes follow; without it there are no probes.",
}
"""What a value's comment says beyond the setting's description."""

UNSET: Mapping[str, str] = {"cluster_name": "", "digdir_base_url": "", "maskinporten_well_known_url": ""}
"""What stands for no value where the operator has no default: the templates fill it in, or ask for it."""

MEMBERS: Mapping[str, str] = {
    "forbidden_scopes": words("a scope where an asterisk stands for any characters", SCOPES_PATTERN),
    "maskinporten_hosts": words("a host without scheme port and path", HOST_NAME_PATTERN),
    "maskinporten_cidrs": NETWORK,
    "webproxy_cidrs": NETWORK,
    "egress_always": NETWORK,
}
"""What members of a list look like, if not any text."""

MEANINGS: Mapping[str, str] = {
    "client_name": "one line without control characters",
    "cluster_name": "letters digits dots and hyphens",
    "default_client_scope": "a scope with its prefix",
    "scope_prefix": "small letters digits and hyphens",
}
"""What patterns of the settings mean, in words."""

BEGIN = "# Generated from src/maskinporten_operator/config.py by `make generate`; edit that instead.\n"
END = "# End of what is generated.\n"


def render_crd_template(kind: Kind, condition: str) -> str:
    """Render a CRD as a template of the chart: installed and upgraded with it, kept when it is uninstalled."""
    keep = (
        '  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n    {{- include "mpo.labels" . | nindent 4 }}\n'
    )
    head, name, rest = render_crd(kind).partition(f"  name: {kind.plural}.{kind.group}\n")
    return f"{{{{- if {condition} }}}}\n{head}{name}{keep}{rest}{{{{- end }}}}\n"


def list_settings() -> dict[str, FieldInfo]:
    """Give the settings that are values below `settings`, by the value's name."""
    return {to_camel(name): field for name, field in Config.model_fields.items() if name not in PLACED}


def find_value(setting: str) -> str:
    """Tell by which value of the chart a setting is reached."""
    return PLACED.get(setting) or f"settings.{to_camel(setting)}"


def render_values() -> str:
    """Render values.yaml: what is written by hand, with the settings renewed."""
    before, _, rest = (CHART / "values.yaml").read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + _render_settings() + END + after


def _render_settings() -> str:
    lines = ["settings:"]
    for name, field in Config.model_fields.items():
        if name in PLACED:
            continue
        comment = " ".join(filter(None, (field.description, ADDITIONS.get(name))))
        lines += textwrap.wrap(comment, 118, initial_indent="  # ", subsequent_indent="  # ", break_on_hyphens=False)
        lines.append(f"  {to_camel(name)}: {json.dumps(_find_default(name, field), ensure_ascii=False)}")
    return "".join(f"{line}\n" for line in lines)


def _find_default(name: str, field: FieldInfo) -> Any:
    value = UNSET.get(name) if field.is_required() else field.default
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, timedelta):
        return write_duration(value)
    return "" if value is None else value


def render_schema() -> str:
    """Render values.schema.json."""
    described = Config.model_json_schema()["properties"]
    settings = {
        to_camel(name): _describe(name, field, described[name])
        for name, field in Config.model_fields.items()
        if name not in PLACED
    }
    return json.dumps(build_schema(settings), indent=2, ensure_ascii=False) + "\n"


def _describe(name: str, field: FieldInfo, described: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a setting may be. An empty text is none, so a rule for texts must let it pass."""
    arguments = [one for one in typing.get_args(field.annotation) if one is not type(None)]
    optional = type(None) in typing.get_args(field.annotation)
    if typing.get_origin(field.annotation) is tuple:
        return listing(field.description or "", MEMBERS.get(name, NO_SPACE))
    if typing.get_origin(field.annotation) is typing.Literal:
        rules: dict[str, Any] = {"type": "string", "enum": arguments}
    else:
        kind = arguments[0] if arguments else field.annotation
        limited = next((one for one in described.get("anyOf", ()) if "minimum" in one), described)
        bounds = {key: limited[key] for key in ("minimum", "maximum") if key in limited}
        empty = {"type": ["integer", "string"], "maxLength": 0} if optional else {}
        simple: Mapping[object, dict[str, Any]] = {
            bool: {"type": "boolean"},
            int: {"type": "integer", **bounds, **empty},
            timedelta: {
                "type": ["string", "integer"],
                "pattern": INTERVAL_SETTING if name in INTERVALS else DURATION,
                "minimum": 1 if name in INTERVALS else 0,
            },
            HttpUrl: {"type": "string", "pattern": PROXY if name == "webproxy_address" else URL},
        }
        rules = simple.get(kind) or {"type": "string", **_find_text_rules(name, described, optional=optional)}
    return {"description": field.description, **rules}


def _find_text_rules(name: str, described: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
    if name in SERVED_ADDRESSES:
        return {"pattern": ADDRESS}
    rules = next((one for one in described.get("anyOf", ()) if "pattern" in one), described)
    found = {key: rules[key] for key in ("pattern", "minLength", "maxLength") if key in rules}
    if pattern := found.get("pattern"):
        rule = pattern.removeprefix("^").removesuffix("$")
        found["pattern"] = words(MEANINGS.get(name, "text"), rule, empty=optional or name in UNSET)
    return found
