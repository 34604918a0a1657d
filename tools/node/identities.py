"""Certificates, tokens and kubeconfigs by which the node's programs know each other."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.node.layout import API_SERVICE, HOSTNAME, Layout

if TYPE_CHECKING:
    from pathlib import Path

API_NAMES = ("localhost", *("kubernetes.default.svc.cluster.local".rsplit(".", cut)[0] for cut in (4, 3, 2, 0)))
CLIENTS = {
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{HOSTNAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-router": ("kube-router", "system:masters"),
}
"""User and group of each program that calls the API server, as Kubernetes' own roles name them."""


def write_identities(layout: Layout) -> None:
    """Write all of them below the node's folder, readable by its owner only."""
    authority = trustme.CA()
    certificate = authority.cert_pem.bytes()
    _write(layout.etc / "ca.crt", certificate)
    issued = {
        "apiserver": authority.issue_cert(*API_NAMES, layout.address, "127.0.0.1", API_SERVICE),
        "kubelet": authority.issue_cert(HOSTNAME, layout.address),
        "apiserver-to-kubelet": authority.issue_cert(
            "kube-apiserver", common_name="kube-apiserver", organization_name="system:masters"
        ),
    }
    for name, one in issued.items():
        _write(layout.etc / f"{name}.crt", one.cert_chain_pems[0].bytes())
        _write(layout.etc / f"{name}.key", one.private_key_pem.bytes())
    _write(layout.etc / "service-accounts.key", _mint_rsa_key())
    users = {layout.kubeconfig: ("admin", "system:masters")}
    users |= {layout.etc / f"{program}.kubeconfig": user for program, user in CLIENTS.items()}
    lines = []
    for path, (user, group) in users.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{user},"{group}"\n')
        _write(path, json.dumps(_build_kubeconfig(layout, certificate, token)).encode())
    _write(layout.etc / "tokens.csv", "".join(lines).encode())


def _build_kubeconfig(layout: Layout, authority: bytes, token: str) -> dict[str, object]:
    cluster = {"server": layout.server, "certificate-authority-data": base64.b64encode(authority).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": layout.name, "user": {"token": token}}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": layout.name}}],
        "current-context": layout.name,
    }


def _mint_rsa_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
