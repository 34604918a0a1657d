"""What the chart renders with its defaults, for those who install without Helm."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

from tools.generate.chart import CHART
from tools.stack import NAMESPACE, RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INSTALL = "deploy/manifests/install.yaml"
CLUSTER_NAME = "to-be-set"
VALUES: Mapping[str, Any] = {
    "settings": {"clusterName": CLUSTER_NAME},
    "credentials": {"existingSecret": "maskinporten-operator-admin"},
}
HEADER = f"""\
# Generated from deploy/chart by `make generate`: what Helm renders of it with its defaults, for DigDir's test
# environment. In the Deployment below, set the image to the one in your registry, and the value of
# MASKINPORTEN_OPERATOR_CLUSTER_NAME, which is empty. The pod waits for a Secret that isn't here:
#
#   kubectl create secret generic maskinporten-operator-admin -n {NAMESPACE} \\
#     --from-literal=client-id=<client id> --from-file=jwk.json=<file with the private RSA JWK>
#
# Never `kubectl delete` the whole file: with the CRD in it go all resources, and their Secrets with them. To remove the
# operator alone delete its Deployment.
#
# For anything else, render the chart with values of your own: docs/operating.md says how.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
    pod-security.kubernetes.io/audit: restricted
"""


def render_chart(helm: Path, values: Mapping[str, Any], *options: str, release: str = RELEASE) -> str:
    """Render the chart, by default as a release of its own name, for a Kubernetes that is new enough.

    Raises:
        ValueError: The values are refused; the text is Helm's.
    """
    command: list[str | Path] = [
        helm,
        "template",
        release,
        CHART,
        "-n",
        NAMESPACE,
        "--kube-version=1.37",
        "--values=-",
        *options,
    ]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def render_install(helm: Path) -> str:
    """Render deploy/manifests/install.yaml: nothing in it says that Helm manages it."""
    rendered = render_chart(helm, VALUES, "--skip-tests")
    rendered = re.sub(
        r"^(# Source: .*|\s*(app.kubernetes.io/managed-by|helm.sh/chart): .*)\n", "", rendered, flags=re.MULTILINE
    )
    rendered = re.sub(r"^  annotations:\n    helm.sh/resource-policy: keep\n", "", rendered, flags=re.MULTILINE)
    rendered = re.sub(r"\n\n+", "\n", rendered)
    return HEADER + rendered.replace(f'"{CLUSTER_NAME}"', '""')
