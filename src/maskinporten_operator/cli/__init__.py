"""The command line. Heavy imports stay inside the commands, so that help and wrong settings are told at once."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import click

from maskinporten_operator.cli.check import check
from maskinporten_operator.cli.doctor import doctor
from maskinporten_operator.cli.inventory import inventory
from maskinporten_operator.cli.options import config_options, load_or_exit
from maskinporten_operator.cli.plan import plan
from maskinporten_operator.cli.status import status
from maskinporten_operator.cli.token import token


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
    by the pod's ServiceAccount, or by the user's kubeconfig. HTTPS_PROXY and NO_PROXY hold for
    DigDir and Maskinporten only.

    Exit codes: 0 after a signal, 1 after a fault or when another replica took over, 2 if the configuration is wrong,
    14 if the process was stopped in the middle of a write for so long that another replica may have taken over.
    """
    import asyncio  # noqa: PLC0415

    config = load_or_exit(flags)

    # After the settings were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.operator import run_operator  # noqa: PLC0415
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415
    from maskinporten_operator.cli.process_memory import configure_memory  # noqa: PLC0415
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415

    configure_logs(config.log_level, config.log_format)
    configure_memory()
    with explain_failures():
        asyncio.run(run_operator(config))


main.add_command(check)
main.add_command(doctor)
main.add_command(inventory)
main.add_command(plan)
main.add_command(status)
main.add_command(token)
