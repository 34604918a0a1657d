"""The command line. Heavy imports stay inside the commands: workers that mint keys start from this module too."""

from __future__ import annotations

import gc
import sys
from importlib.metadata import version
from typing import Any

import click

from maskinporten_operator.cli.options import config_options


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(version("maskinporten-operator"), prog_name="maskinporten-operator")
def main() -> None:
    """Register Maskinporten clients at DigDir from Kubernetes manifests."""


@main.command()
@config_options
def run(**flags: Any) -> None:
    """Run the operator until it gets SIGTERM or Ctrl-C.

    Every option may also be given in the environment, as MASKINPORTEN_OPERATOR_ and its name in capitals:
    --cluster-name is MASKINPORTEN_OPERATOR_CLUSTER_NAME. The API server is found as kubectl finds it: by KUBECONFIG,
    by the pod's ServiceAccount, or by the user's kubeconfig. HTTPS_PROXY and NO_PROXY hold for DigDir only.

    Exit codes: 0 after a signal, 1 after a fault, 2 if the configuration can't be used.
    """
    import asyncio  # noqa: PLC0415

    from maskinporten_operator.config import ConfigError, load_config  # noqa: PLC0415

    try:
        config = load_config(**flags)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)

    from maskinporten_operator.adapters.cluster.api import ClusterUnknownError  # noqa: PLC0415
    from maskinporten_operator.adapters.digdir.credentials import CredentialsError  # noqa: PLC0415
    from maskinporten_operator.assembly import run_operator  # noqa: PLC0415
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415

    configure_logs(config.log_level, config.log_format)
    # What was imported stays. The default, a search for garbage at every 700 new objects, made bursts of resources
    # slower (means of four: 4.7 s, and 4.2 s like this).
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        asyncio.run(run_operator(config))
    except (ClusterUnknownError, CredentialsError) as error:
        click.echo(f"Error: the configuration can't be used:\n  {error}", err=True)
        sys.exit(2)
