"""`check`: what is wrong with manifests, before anybody applies them."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.cli.options import NOTHING, SIGNS, config_options, count, load_or_exit
from maskinporten_operator.cli.output import echo
from maskinporten_operator.config import ManifestConfig, OfflineConfig
from maskinporten_operator.model.conditions import escape

if TYPE_CHECKING:
    from maskinporten_operator.assembly.manifest_check import CheckReport, Located
    from maskinporten_operator.config import Config

SETTINGS = (
    *("cluster_name", "platform", "workloads", "workload_defaults", "egress", "maskinporten_hosts"),
    *("maskinporten_cidrs", "inbound", "ingress_classes", "webproxy_address", "forbidden_scopes"),
)
DIGDIR_SETTINGS = (
    *("digdir_base_url", "maskinporten_well_known_url", "admin_client_id", "admin_signer", "admin_key_id"),
    *("admin_cert_chain_file", "admin_key_file", "admin_jwk_file", "admin_scopes", "scope_prefix", "ca_bundle"),
)
"""Of use with `--granted` only."""
STATES = {"error": "failed", "warning": "warning"}
COLOURS = {"error": "red", "warning": "yellow"}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of manifests that don't say.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How it is shown.",
)
@click.option("--granted", is_flag=True, help="Ask DigDir too, as the operator does, which of the scopes can be had.")
@partial(config_options, names=SETTINGS, model=OfflineConfig)
@partial(config_options, names=DIGDIR_SETTINGS)
def check(files: tuple[Path, ...], namespace: str, output: str, *, granted: bool, **flags: Any) -> None:
    """Check Applications and MaskinportenClients in files, before they are applied.

    It takes files of YAML or JSON, directories with what is below them, and - for standard input. Nothing is called,
    neither a cluster nor DigDir: what is judged are the manifests, by the rules of the operator itself and of its
    CRDs. Other kinds are passed over, and in directories also files that don't mention nais.io.

    With --granted DigDir is asked too, by the operator's own credentials, and nothing is written there: which consumed
    scope isn't granted, and who must grant it, which doesn't exist, and which exposed scope is somebody else's.

    \b
    $ maskinporten-operator check nais.yaml
    $ kustomize build . | maskinporten-operator check --platform gcp -
    $ maskinporten-operator check -o sarif manifests/ > check.sarif
    $ maskinporten-operator check --granted --cluster-name my-cluster --admin-jwk-file admin.jwk … nais.yaml

    An error is what the API server or the operator would refuse, a warning what has no effect. The latter depends on
    the cluster: options and the environment are the settings of `run`, by which its operator runs. What the API
    server serves can't be seen: give --egress if the operator finds fqdn-gke or cilium there by itself. What is
    [required] of DigDir and of the operator's client, is so for --granted alone.

    Exit codes: 0 if there is no error, also with warnings, 1 if there are errors, 2 if an option is wrong, or a file or
    DigDir can't be read.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    config = load_or_exit(flags, ManifestConfig if granted else OfflineConfig)

    # After the settings were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.manifest_check import UnreadableFileError, check_files  # noqa: PLC0415

    try:
        report = check_files(files, config, namespace)
    except UnreadableFileError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    if granted:
        _ask_digdir(report, config, namespace)
    echo(_render(report, output))
    sys.exit(1 if report.count("error") else 0)


def _ask_digdir(report: CheckReport, config: Config, namespace: str) -> None:
    """Add what DigDir has to say; exit with 2 if it can't be asked, since 1 is for what is wrong with manifests."""
    import asyncio  # noqa: PLC0415 - as above

    from maskinporten_operator.adapters.digdir.credentials import CredentialsError  # noqa: PLC0415 - as above
    from maskinporten_operator.assembly.granted_check import check_granted  # noqa: PLC0415 - as above
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415 - as above
    from maskinporten_operator.model.errors import OperatorError  # noqa: PLC0415 - as above

    configure_logs(config.log_level, "text")  # to standard error: the other one is for findings
    try:
        asyncio.run(check_granted(report, config, namespace))
    except (CredentialsError, OperatorError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


def _render(report: CheckReport, output: str) -> str:
    if output == "text":
        return "\n".join([*map(_render_finding, report.found), _summarize(report)])
    if output == "json":
        document: dict[str, Any] = {
            "manifests": report.manifests,
            "findings": [_build_finding(one) for one in report.found],
        }
    else:
        from maskinporten_operator.cli.sarif import build_sarif  # noqa: PLC0415 - as above

        document = build_sarif(report.found)
    return json.dumps(document, indent=2, ensure_ascii=False)


def _render_finding(one: Located) -> str:
    """Render a finding as a line that editors find their way by, and one more for who can fix it."""
    rule = one.finding.rule
    place = escape(f"{one.file}:{one.line}" if one.line else one.file)
    sign = click.style(f"{SIGNS[STATES[rule.level]]} {rule.level}", fg=COLOURS[rule.level])
    return f"{place}: {sign}: {escape(str(one.finding))}\n    → {rule.remedy}"


def _summarize(report: CheckReport) -> str:
    if not (report.manifests or report.found):
        return NOTHING
    errors, warnings = report.count("error"), report.count("warning")
    return f"{count(report.manifests, 'manifest')}: {count(errors, 'error')}, {count(warnings, 'warning')}"


def _build_finding(one: Located) -> dict[str, Any]:
    finding = one.finding
    return {
        "file": one.file,
        "line": one.line,
        "level": finding.rule.level,
        "rule": finding.rule.id,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.rule.remedy,
    }
