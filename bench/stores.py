"""What the stores and indexes take for each resource, without passes, watches and clients of HTTP.

    python -m bench.stores 50000

fills those of a process of its own as the first lists do, and prints CPU and memory for each resource as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.lab import SCOPE
from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.assembly.watches import summarize
from maskinporten_operator.model.jwk import PrivateJwk, build_kid
from maskinporten_operator.model.maskinportenclient import FINALIZER, parse
from maskinporten_operator.model.registrations import AuthorizationServer
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, SECRET
from maskinporten_operator.plan.secret import build_fingerprint, build_secret
from maskinporten_operator.runtime.queue import WorkQueue
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.store import trim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.jwk import RsaKey

AT_ONCE = 500
"""Objects of a page."""
NAMESPACES = 20
TIME = "2026-01-01T00:00:00Z"
SERVER = AuthorizationServer("https://a.example/", "https://a.example/", "https://a.example/jwk", "https://a.example/t")
CONDITIONS = [
    {"type": kind, "status": "True", "reason": reason, "message": message, "observedGeneration": 1}
    | {"lastTransitionTime": TIME}
    for kind, reason, message in (
        ("Ready", "Synchronized", "Everything is as the spec says"),
        ("Verified", "TokenIssued", "Maskinporten issues tokens"),
    )
]


def build_resource(number: int) -> dict[str, Any]:
    """Build a resource that is converged."""
    name, uid = f"app-{number}", f"{number:08x}-0000-4000-8000-000000000000"
    client_id, kid = f"{number:08x}-1111-4111-8111-111111111111", build_kid(uid, f"{number:016x}")
    return {
        "metadata": {
            "name": name,
            "namespace": f"growth-{number % NAMESPACES}",
            "uid": uid,
            "resourceVersion": str(1000 + number),
            "generation": 1,
            "creationTimestamp": TIME,
            "finalizers": [FINALIZER],
        },
        "spec": {"secretName": name, "scopes": {"consumes": [{"name": SCOPE}]}},
        "status": {
            "conditions": CONDITIONS,
            "observedGeneration": 1,
            "synchronizationState": "Synchronized",
            "synchronizationTime": TIME,
            "correlationID": f"{number:032x}",
            "clientID": client_id,
            "keyIDs": [kid],
            "registeredScopes": [SCOPE],
            "synchronizationSecretName": name,
            "synchronizationHash": build_fingerprint(client_id, kid, [SCOPE], SERVER),
        },
    }


def build_secret_of(resource: Mapping[str, Any], key: RsaKey, version: int) -> dict[str, Any]:
    """Build the Secret of a resource."""
    meta, status = parse(resource).meta, resource["status"]
    jwk = PrivateJwk(status["keyIDs"][0], key)
    secret = build_secret(meta, meta.name, client_id=status["clientID"], jwk=jwk, scopes=[SCOPE], server=SERVER)
    return {**secret, "metadata": {**secret["metadata"], "uid": f"secret-{meta.name}", "resourceVersion": str(version)}}


async def main(size: int) -> None:
    """Fill the stores page by page, and print what that took; what builds the pages isn't counted."""
    key, seconds, before = mint_key(), 0.0, _measure_memory()
    router = Router([MASKINPORTEN_CLIENT], WorkQueue(), time.monotonic, lambda _: None, lambda: None)
    summaries = []
    for begin in range(0, size, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, size))
        built = [build_resource(number) for number in numbers]
        secrets = [msgspec.json.encode(build_secret_of(one, key, size + 1000)) for one in built]
        resources = [msgspec.json.encode(one) for one in built]
        began = time.process_time()
        for raw in resources:
            router.on_event(MASKINPORTEN_CLIENT, None, trim(MASKINPORTEN_CLIENT, msgspec.json.decode(raw)))
        summaries += [summarize(msgspec.json.decode(raw)) for raw in secrets]
        seconds += time.process_time() - began
    began = time.process_time()
    router.owned[MASKINPORTEN_CLIENT].listen(SECRET).on_list(summaries)
    seconds += time.process_time() - began
    del summaries, built, secrets, resources
    gc.collect()
    kib = (_measure_memory() - before) / size
    print(json.dumps({"milliseconds": round(seconds / size * 1000, 3), "kib": round(kib, 2)}))


def _measure_memory() -> int:
    """Measure resident memory, in KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
