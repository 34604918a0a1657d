"""What `doctor` concludes from settings and answers: what is wrong, where, and who can fix it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from maskinporten_operator.model.registrations import INTEGRATION_TYPE
from maskinporten_operator.model.tokens import SCOPE_REFUSALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from maskinporten_operator.model.registrations import AuthorizationServer, Registration
    from maskinporten_operator.model.scopes import RegisteredScope
    from maskinporten_operator.model.signer_reference import Provider

CLUSTER_ADMIN = "A cluster admin"
CLIENT_ADMIN = "Whoever administers the organisation's clients at DigDir"
MAINTAINER = "Send the report (-o json) to whoever maintains the operator"
SMALL_SKEW, MAX_SKEW = 2.0, 10.0
"""Seconds of clock skew that aren't reported; and that Maskinporten tolerates."""
DAY = 86400.0
SOON = 30 * DAY
MAX_MEMBERS = 100
MAX_DEPTH = 8
MEMBER_NAME = re.compile(r"[A-Za-z][\w.#-]{0,39}")
"""Of a member whose name is reported; any other may be a value in the place of a name."""
RELIED_ON: Mapping[str, tuple[str, ...]] = {
    "Client": ("client_id", "description", "integration_type", "scopes"),
    "Scope": ("name", "description"),
    "Access": ("scope", "consumer_orgno", "state"),
    "Prefix": ("prefix",),
    "DelegationSource": ("name", "issuer"),
}
"""Members without which the operator doesn't know what it sees, by the contract's name of the schema."""
TRIAL = "maskinporten-operator doctor"
MAX_TRIAL_SCOPES = 5
MAX_RUN_SECONDS = 1800.0
"""Seconds after which no run is under way any more, though each of its calls timed out and two clocks were apart."""


class CheckState(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found.

    Attributes:
        message: What was found: what is wrong, and where.
        remedy: Who can fix it, and how; empty if nothing is wrong.
    """

    name: str
    state: CheckState
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Environments:
    """The addresses of DigDir's environments, by the environment's name."""

    hosts: Mapping[str, str]
    issuers: Mapping[str, str]

    def find(self, url: str) -> str | None:
        """Name the environment that an address is of; None if it is none of DigDir's."""
        host = urlsplit(url).hostname
        for known in (self.hosts, self.issuers):
            for name, address in known.items():
                if urlsplit(address).hostname == host:
                    return name
        return None


def show_url(url: str) -> str:
    """Show an address without the user and the password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_addresses(base_url: str, well_known_url: str, environments: Environments) -> Check:
    """Check that both addresses are of the same environment."""
    return _compare_environments(
        "addresses", {"DIGDIR_BASE_URL": base_url, "MASKINPORTEN_WELL_KNOWN_URL": well_known_url}, environments
    )


def check_server(server: AuthorizationServer, base_url: str, environments: Environments) -> Check:
    """Check that Maskinporten's metadata are of one environment, that of the API."""
    mixed = _compare_environments(
        "issuer",
        {
            "DIGDIR_BASE_URL": base_url,
            "issuer": server.issuer,
            "token_endpoint": server.token_endpoint,
            "jwks_uri": server.jwks_uri,
        },
        environments,
    )
    if mixed.state == CheckState.FAILED:
        return mixed
    # RFC 8414 section 3.3: the issuer is what the address of its metadata begins with.
    if not server.well_known_url.startswith(server.issuer.rstrip("/") + "/.well-known/"):
        return Check(
            "issuer",
            CheckState.WARNING,
            f"{show_url(server.well_known_url)} tells of another issuer, {show_url(server.issuer)}",
            f"{CLUSTER_ADMIN} must check that MASKINPORTEN_WELL_KNOWN_URL is the issuer's own address",
        )
    return mixed if mixed.state != CheckState.PASSED else Check("issuer", CheckState.PASSED, show_url(server.issuer))


def _compare_environments(name: str, urls: Mapping[str, str], environments: Environments) -> Check:
    found = {what: environments.find(url) for what, url in urls.items()}
    listed = ", ".join(f"{what} ({urlsplit(urls[what]).hostname}) of {one or 'none'}" for what, one in found.items())
    known = {one for one in found.values() if one}
    if len(known) > 1:
        return Check(
            name,
            CheckState.FAILED,
            f"DigDir's environments are mixed up: {listed}",
            f"{CLUSTER_ADMIN} must set DIGDIR_BASE_URL and MASKINPORTEN_WELL_KNOWN_URL to the same environment, which "
            "the chart's value `environment` does, and give the credentials of a client there",
        )
    if known and None in found.values():
        return Check(
            name,
            CheckState.WARNING,
            f"not all of these are addresses of an environment of DigDir's: {listed}",
            f"{CLUSTER_ADMIN} must check them, unless something stands in front of DigDir on purpose",
        )
    environment = f"DigDir's {known.pop()} environment" if known else "no environment of DigDir's"
    return Check(name, CheckState.PASSED, f"{environment}: {', '.join(map(show_url, urls.values()))}")


def check_clock(lead: float, precision: float) -> Check:
    """Check this machine's clock; `lead` is by how much it is ahead, known to `precision` seconds."""
    if abs(lead) <= max(SMALL_SKEW, precision):
        return Check("clock", CheckState.PASSED, f"this machine's is that of Maskinporten, within {SMALL_SKEW:.0f} s")
    off = f"this machine's is {abs(lead):.0f} s {'ahead of' if lead > 0 else 'behind'} that of Maskinporten"
    remedy = f"{CLUSTER_ADMIN} must have the node's clock set right (NTP)"
    if abs(lead) <= MAX_SKEW:
        return Check("clock", CheckState.WARNING, off, remedy)
    return Check("clock", CheckState.FAILED, f"{off}, which refuses what is signed too early or too late", remedy)


def check_expiry(expires: float | None, now: float) -> Check:
    """Check when the operator's own credentials end; epoch seconds."""
    if expires is None:
        return Check("credentials", CheckState.PASSED, "can be read; their end is unknown")
    end = datetime.fromtimestamp(expires, UTC).date().isoformat()
    remedy = f"{CLUSTER_ADMIN} must renew the operator's own credentials"
    if expires <= now:
        return Check("credentials", CheckState.FAILED, f"ended on {end}", remedy)
    if expires - now < SOON:
        return Check("credentials", CheckState.WARNING, f"end on {end}", remedy)
    return Check("credentials", CheckState.PASSED, f"can be read, and last until {end}")


def check_signer(provider: Provider, failure: str, is_certified: bool | None, seconds: float) -> Check:
    """Check what came of one signature: why there is none, or whether it is by the certificate's key, if known."""
    whose = f"{provider.name} signs for the operator"
    if failure:
        remedy = f"{CLUSTER_ADMIN} must check ADMIN_SIGNER, and the operator's rights to sign by that key"
        return Check("signer", CheckState.FAILED, f"{whose}, but {failure}", remedy)
    if is_certified is False:
        remedy = f"{CLUSTER_ADMIN} must set ADMIN_SIGNER and ADMIN_CERT_CHAIN_FILE to the same key's"
        return Check("signer", CheckState.FAILED, f"{whose} by another key than the first certificate's", remedy)
    by = " by the first certificate's key" if is_certified else ""
    return Check("signer", CheckState.PASSED, f"{whose}{by}, in {seconds:.2f} s")


def check_registered_key(kid: str, is_same: bool | None) -> Check:
    """Check whether what was signed is by the registered key of an id; None if there is no such key."""
    name = "signer's key"
    if is_same:
        return Check(name, CheckState.PASSED, f"is the one registered as {kid}")
    wrong = "no key of that id is registered on the client" if is_same is None else "another key is registered as that"
    remedy = f"{CLIENT_ADMIN} must register its public half, or {CLUSTER_ADMIN.lower()} correct ADMIN_KEY_ID"
    return Check(name, CheckState.FAILED, f"ADMIN_KEY_ID is {kid}, but {wrong}", remedy)


def advise(
    status: int | None,
    *,
    is_json: bool,
    needed: Collection[str] = (),
    granted: Collection[str] = (),
    otherwise: str = MAINTAINER,
) -> str:
    """Say who can fix a call that failed.

    Args:
        status: The HTTP status; None if nothing was answered.
        is_json: Whether the answer's body is JSON.
        needed: The rights of which the call takes one.
        granted: The rights that the token has.
        otherwise: What to say of an answer that tells nothing by itself.
    """
    if status is None:
        return (
            f"{CLUSTER_ADMIN} must check the address, DNS, HTTPS_PROXY and NO_PROXY, CA_BUNDLE, and that the network "
            "lets the operator out"
        )
    if status == 429 or status >= 500:
        return f"Try again later. If it stays so, {CLUSTER_ADMIN.lower()} must ask DigDir"
    if not is_json or 300 <= status < 400:
        return (
            f"What answers isn't DigDir's API but a web page, a gateway or a proxy: {CLUSTER_ADMIN.lower()} must "
            "check the address and HTTPS_PROXY"
        )
    if status == 401:
        return (
            f"The API doesn't take the token that Maskinporten gave: {CLUSTER_ADMIN.lower()} must check that both "
            "addresses are of the same environment, and ask DigDir if they are"
        )
    if status == 403 and needed and not set(needed) & set(granted):
        return f"{CLIENT_ADMIN} must give the operator's client {' or '.join(needed)}"
    return otherwise


def advise_on_token(
    error: object, client_id: str, rights: Sequence[str], *, clock_is_right: bool, is_trial: bool = False
) -> str:
    """Say who can fix that Maskinporten refuses a token; `error` is OAuth's word for why."""
    if error in SCOPE_REFUSALS:
        whom = "the new client" if is_trial else f"client {client_id}"
        return f"{CLIENT_ADMIN} must give {whom} {' and '.join(rights)}"
    clock = "" if clock_is_right else ", and the clock, which may be all that is wrong"
    if is_trial:
        return MAINTAINER if clock_is_right else f"{CLUSTER_ADMIN} must check the clock"
    return (
        f"{CLUSTER_ADMIN} must check ADMIN_CLIENT_ID and the credentials{clock}: is this very key, or the organisation "
        "of this certificate, that of the client, and the client of the environment of MASKINPORTEN_WELL_KNOWN_URL?"
    )


def find_missing_members(schema: str | None, row: Any) -> tuple[str, ...]:
    """Find members that the operator relies on, and that an answer of a schema, or a row of it, lacks."""
    relied_on = RELIED_ON.get(schema or "", ())
    return tuple(name for name in relied_on if isinstance(row, dict) and row.get(name) is None)


def describe_shape(document: Any, depth: int = 0) -> Any:
    """Describe a JSON document by types alone: of an object its members, of an array what its items have in common."""
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(document, dict):
        named = [name for name in document if MEMBER_NAME.fullmatch(name)][:MAX_MEMBERS]
        shape = {name: describe_shape(document[name], depth + 1) for name in named}
        return shape | ({"…": "members that aren't named here"} if len(named) < len(document) else {})
    if isinstance(document, list):
        shapes: list[Any] = []
        for item in document:
            shape = describe_shape(item, depth + 1)
            if shape not in shapes:
                shapes.append(shape)
        return [_merge(shapes)] if shapes else []
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
    return names.get(type(document), "nothing that is JSON")


def _merge(shapes: Sequence[Any]) -> Any:
    """Put the shapes of an array's items together; a member that some lack has a `?`."""
    if all(isinstance(shape, dict) for shape in shapes):
        names = dict.fromkeys(name for shape in shapes for name in shape)
        return {
            name + ("" if all(name in shape for shape in shapes) else "?"): _merge(
                [shape[name] for shape in shapes if name in shape]
            )
            for name in names
        }
    if all(isinstance(shape, list) for shape in shapes):
        items = [item for shape in shapes for item in shape]
        return [_merge(items)] if items else []
    return " or ".join(sorted({_name_kind(shape) for shape in shapes}))


def _name_kind(shape: Any) -> str:
    if isinstance(shape, dict):
        return "object"
    return "array" if isinstance(shape, list) else str(shape)


# The client of --write


def build_trial_description(cluster: str, run: str, now: float) -> str:
    """Build the description of the client that a run of `doctor` makes.

    No resource's ownership has spaces, since no cluster's name has.

    Args:
        cluster: The cluster's name.
        run: What no other run has.
        now: The time, in epoch seconds: it tells others how long the client may be in use.
    """
    return f"{TRIAL} of cluster {cluster}; made to be deleted; run {run} of {_format_instant(now)}"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The clients that runs of `doctor` made, and that are still active.

    Attributes:
        own: Those of this cluster whose run is over.
        running: Those of this cluster that a run may be using now.
        others: Those of other clusters.
    """

    own: tuple[Registration, ...]
    running: tuple[Registration, ...]
    others: tuple[Registration, ...]


def find_leftovers(clients: Iterable[Registration], cluster: str, now: float) -> Leftovers:
    """Find the clients that runs of `doctor` left behind, or are using now (epoch seconds)."""
    trials = [one for one in clients if one.usable and one.description.startswith(f"{TRIAL} of cluster ")]
    own = [one for one in trials if one.description.startswith(f"{TRIAL} of cluster {cluster}; ")]
    over = [one for one in own if _is_over(one.description, now)]
    return Leftovers(
        tuple(over),
        tuple(one for one in own if one not in over),
        tuple(one for one in trials if one not in own),
    )


def _is_over(description: str, now: float) -> bool:
    """Whether the run that made a client is over; one without a time in its description is."""
    begun = re.search(r" of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$", description)
    try:
        return begun is None or abs(now - datetime.fromisoformat(begun[1]).timestamp()) > MAX_RUN_SECONDS
    except ValueError:
        return True


def _format_instant(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def choose_trial_scopes(
    default: str | None,
    open_scopes: Iterable[RegisteredScope],
    granted: Iterable[str],
    own: Iterable[RegisteredScope],
) -> tuple[str, ...]:
    """Choose scopes to try for that client, one after another: what concerns nobody first."""
    candidates = [
        *([default] if default else []),
        *(scope.name for scope in open_scopes if _may_use(scope)),
        *granted,
        *(scope.name for scope in own if _may_use(scope)),
    ]
    return tuple(dict.fromkeys(candidates))[:MAX_TRIAL_SCOPES]


def _may_use(scope: RegisteredScope) -> bool:
    types = scope.fields.get("allowed_integration_types") or [INTEGRATION_TYPE]
    return scope.active and INTEGRATION_TYPE in types
