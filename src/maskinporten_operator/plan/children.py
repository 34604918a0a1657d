"""What an Application owns: built from its spec, compared with what is there, and pruned."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.resources import (
    DEPLOYMENT,
    EXPOSURE_KINDS,
    HORIZONTAL_POD_AUTOSCALER,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    POD_MONITOR,
    SERVICE,
    SERVICE_ACCOUNT,
    UNREADABLE,
    WORKLOAD_KINDS,
    Kind,
)
from maskinporten_operator.plan.application_metadata import build_child_metadata
from maskinporten_operator.plan.comparison import find_difference, take_over
from maskinporten_operator.plan.container import PORT_NAME
from maskinporten_operator.plan.egress import POLICY_KINDS, build_network_policy_of, build_policies
from maskinporten_operator.plan.inbound import build_inbound_policy, is_guarded, is_inbound
from maskinporten_operator.plan.ingress import build_ingresses
from maskinporten_operator.plan.owner_references import (
    is_adoptable,
    is_owned_by,
    is_ownerless,
    was_owned_by_namesake,
)
from maskinporten_operator.plan.scaling import (
    build_autoscaler,
    build_disruption_budget,
    has_disruption_budget,
    is_autoscaled,
)
from maskinporten_operator.plan.scraping import build_pod_monitor, has_pod_monitor
from maskinporten_operator.plan.workload import (
    CREDENTIALS_ANNOTATION,
    build_deployment,
    build_service,
    build_service_account,
    choose_fingerprint,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from maskinporten_operator.model.application import ApplicationSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

HASH_ANNOTATION = "digdir.nais.io/applied-hash"
"""On a child: a hash of the manifest last applied, by which a field is missed that the spec no longer has."""
OWNED_KINDS = (*WORKLOAD_KINDS, *EXPOSURE_KINDS, *POLICY_KINDS)
"""All that an Application may own but its MaskinportenClient."""
MAX_SECRET_PREFIX_LENGTH = 54
CHILD_RECHECK_SECONDS = 5.0


class ChildName(NamedTuple):
    """Names a child within its Application's namespace."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name}"

    @property
    def is_egress(self) -> bool:
        """Whether it is a policy on ways out."""
        return self.kind in POLICY_KINDS and not is_inbound(self.name)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the Application's MaskinportenClient says of the Secret: its name, and a hash of what is in it."""

    secret_name: str
    fingerprint: str | None


def build_secret_name(application: str) -> str:
    """Build the Secret's name as the NAIS platform does: cut to fit, and unique by a CRC-32 (IEEE) of all of it."""
    whole = f"maskinporten-{application}"
    return f"{whole[:MAX_SECRET_PREFIX_LENGTH]}-{zlib.crc32(whole.encode()):08x}"


def build_children(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, credentials: Credentials | None
) -> dict[ChildName, dict[str, Any]]:
    """Build all manifests in the order in which they are applied.

    The MaskinportenClient first, since DigDir takes its time; the policies before the pods that they hold for. While
    there are no credentials for an application that needs them there is no Deployment: its pods couldn't start.
    """
    found: list[tuple[Kind, dict[str, Any]]] = []
    if spec.maskinporten.enabled:
        found.append((MASKINPORTEN_CLIENT, _build_client(meta, spec)))
    found += build_policies(meta, spec, platform)
    if is_guarded(spec, platform):
        found.append((NETWORK_POLICY, build_inbound_policy(meta, spec, platform)))
    if platform.workloads and spec.image:
        found += _build_workload(meta, spec, platform, credentials)
    return {ChildName(kind, manifest["metadata"]["name"]): _seal(manifest) for kind, manifest in found}


def build_inbound_bridge(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, going: Collection[str]
) -> dict[str, Any]:
    """Build the policy on callers for as long as there are Ingresses of classes that the Application leaves."""
    return _seal(build_inbound_policy(meta, spec, platform, going))


def _build_workload(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, credentials: Credentials | None
) -> Iterator[tuple[Kind, dict[str, Any]]]:
    if platform.service_accounts:
        yield SERVICE_ACCOUNT, build_service_account(meta)
    yield SERVICE, build_service(meta, spec)
    yield from ((INGRESS, one) for one in build_ingresses(meta, spec, platform))
    if has_pod_monitor(spec, platform):
        yield POD_MONITOR, build_pod_monitor(meta, spec, platform, PORT_NAME)
    used = credentials if spec.maskinporten.enabled else None
    if spec.maskinporten.enabled and not used:
        return
    secret_name, fingerprint = (used.secret_name, choose_fingerprint(meta, used.fingerprint)) if used else (None, None)
    yield DEPLOYMENT, build_deployment(meta, spec, platform, secret_name, fingerprint)
    if has_disruption_budget(spec, platform):
        yield POD_DISRUPTION_BUDGET, build_disruption_budget(meta)
    if is_autoscaled(spec, platform):
        yield HORIZONTAL_POD_AUTOSCALER, build_autoscaler(meta, spec, platform)


def build_bridge(meta: ObjectMeta, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Build the NetworkPolicy that stands while several policies change."""
    return _seal(build_network_policy_of(meta, rules))


def check_child_owner(
    child: ChildName, observed: Mapping[str, Any], meta: ObjectMeta, desired: Mapping[str, Any]
) -> Blocker | None:
    """A child of that name that isn't ours is never taken over; one that is going is waited for."""
    if reason := observed.get(UNREADABLE):
        message = f"{child} can't be read ({reason}): take out what made it so, or delete it"
        return rejected(Reason.CHILD_CONFLICT, message)
    is_owned = is_owned_by(observed, meta)
    if (is_owned or is_ownerless(observed, meta)) and observed["metadata"].get("deletionTimestamp"):
        return waiting(Reason.AWAITING_CHILD_REMOVAL, f"{child} is being deleted", CHILD_RECHECK_SECONDS)
    if is_owned:
        return None
    if was_owned_by_namesake(observed, meta):
        return waiting(
            Reason.AWAITING_CHILD_REMOVAL,
            f"{child} still belongs to an earlier Application of this name; the garbage collector removes it",
            CHILD_RECHECK_SECONDS,
        )
    return rejected(
        Reason.CHILD_CONFLICT,
        f"{child} exists and {_describe_owner(observed, meta, desired)}: remove or rename one of the two",
    )


def check_origin(observed: Mapping[str, Any], meta: ObjectMeta, desired: Mapping[str, Any] | None) -> str | None:
    """Say what an object without an owner lacks to be this Application's child, or None if it lacks nothing.

    Whoever may write objects may set a label and copy an annotation, so each of its values must be what the operator
    would set: to adopt it then changes nothing of what it does. `desired` is None if the spec asks for no such child.
    """
    if not is_adoptable(observed, meta):
        return "the labels by which the operator knows its own"
    if HASH_ANNOTATION not in (observed["metadata"].get("annotations") or {}):
        return f"the annotation {HASH_ANNOTATION}"
    if desired is None:
        return "a place in the spec"
    difference = _find_difference(_leave_out_marks(desired), observed)
    return f"what the spec asks for in {difference}" if difference else None


def _describe_owner(observed: Mapping[str, Any], meta: ObjectMeta, desired: Mapping[str, Any]) -> str:
    references = observed["metadata"].get("ownerReferences") or ()
    if others := ", ".join(f"{one['kind']} {one['name']}" for one in references):
        return f"belongs to {others}"
    return f"wasn't made for this Application, as it lacks {check_origin(observed, meta, desired)}"


def find_hash(manifest: Mapping[str, Any]) -> str | None:
    """Find the hash of the manifest last applied."""
    value = (manifest["metadata"].get("annotations") or {}).get(HASH_ANNOTATION)
    return value if isinstance(value, str) else None


def find_mutation(manifest: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find what an admission webhook or policy made of a manifest that was applied; None if it is as it was sent."""
    if not check_child(manifest, answer):
        return None
    return {**take_over(manifest, answer), "kind": manifest["kind"]}


def check_child(
    desired: Mapping[str, Any], observed: Mapping[str, Any] | None, mutated: Mapping[str, Any] | None = None
) -> str | None:
    """Say why a child must be applied, or None; `mutated` is what others made of it when it was applied last."""
    if observed is None:
        return "it doesn't exist"
    hashes = [find_hash(one) for one in (desired, observed)]
    if mutated and find_hash(mutated) == hashes[0]:
        desired = mutated
    difference = _find_difference(desired, observed)
    if hashes[0] != hashes[1]:
        return "the Application's spec changed" if hashes[1] else "this operator never applied it"
    return f"{difference} was changed" if difference else None


def _find_difference(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> str | None:
    # Its kind can't differ, and an object from a list doesn't tell it.
    compared = {name: value for name, value in desired.items() if name not in {"apiVersion", "kind"}}
    return find_difference(
        compared, observed, shared_lists=desired["kind"] in {DEPLOYMENT.name, SERVICE.name, SERVICE_ACCOUNT.name}
    )


def _leave_out_marks(desired: Mapping[str, Any]) -> dict[str, Any]:
    """Give a manifest without what depends on its owner's uid, on the key in the Secret, or on labels.

    A tool that restores the Application may label it, and so what it owns. Those that select were looked at before.
    """
    left_out = {"ownerReferences", "labels", HASH_ANNOTATION, CREDENTIALS_ANNOTATION}

    def leave_out(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: leave_out(one) for name, one in value.items() if name not in left_out}

    return {name: leave_out(one) for name, one in desired.items()}


def _build_client(meta: ObjectMeta, spec: ApplicationSpec) -> dict[str, Any]:
    scopes = spec.maskinporten.scopes.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "apiVersion": MASKINPORTEN_CLIENT.api_version,
        "kind": MASKINPORTEN_CLIENT.name,
        "metadata": build_child_metadata(meta),
        "spec": {"secretName": build_secret_name(meta.name)} | ({"scopes": scopes} if scopes else {}),
    }


def _seal(manifest: dict[str, Any]) -> dict[str, Any]:
    digest = sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), HASH_ANNOTATION: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
