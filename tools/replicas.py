"""Operators that contend for one Lease, each with a client of its own at DigDir, so that a ledger tells them apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from digdir_simulator import jws
from digdir_simulator.seed import ADMIN_SCOPES
from tools.stack import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from tools.kube import KubeClient

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
LEASE = f"{LEASES}/maskinporten-operator"
SETTINGS = {"leader_election": "true", "lease_namespace": NAMESPACE}


class Admin:
    """A client with which an operator may call the self-service API, besides the simulator's own."""

    def __init__(self, client_id: str) -> None:
        """Make its key."""
        self.client_id = client_id
        self._jwk = jws.new_private_jwk()

    @property
    def seed(self) -> dict[str, Any]:
        """The client as a seed has it."""
        return {
            "client_id": self.client_id,
            "client_name": "Admin client",
            "description": f"Client of the operator {self.client_id}",
            "integration_type": "maskinporten",
            "application_type": "web",
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
            "scopes": list(ADMIN_SCOPES),
            "keys": [jws.public_jwk(self._jwk)],
        }

    def settings(self, folder: Path) -> dict[str, str]:
        """Write the key into a folder, and give what an operator needs to be this client."""
        file = folder / f"{self.client_id}.jwk"
        file.touch(mode=0o600)
        file.write_text(json.dumps(self._jwk))
        return {"admin_client_id": self.client_id, "admin_jwk_file": str(file)}


def free_lease(kube: KubeClient) -> None:
    """Leave the Lease as one that was given back: the next operator leads at once."""
    if kube.find(LEASE):
        kube.request("DELETE", LEASE)
    metadata = {"name": LEASE.rpartition("/")[2], "namespace": NAMESPACE}
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    kube.request("POST", LEASES, body)


def find_holder(kube: KubeClient) -> str:
    """Give who holds the Lease."""
    lease = kube.find(LEASE) or {}
    return str(lease.get("spec", {}).get("holderIdentity") or "")
