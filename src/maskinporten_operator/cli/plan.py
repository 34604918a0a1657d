"""`plan`: what the operator would do to DigDir if it started now."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.cli.options import SIGNS, config_options, count, load_or_exit
from maskinporten_operator.cli.output import echo
from maskinporten_operator.model.conditions import escape
from maskinporten_operator.plan.exposed_scopes import show
from maskinporten_operator.plan.planned_writes import NEW_CLIENT, ResourcePlan, count_actions, find_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maskinporten_operator.plan.planned_writes import Action, Change, Write

    OnProgress = Callable[[str, int, int], None]

SOMETHING_TO_DO = 3
SHOWN: Mapping[Action, tuple[str, str]] = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "delete": ("-", "red"),
    "blocked": (SIGNS["failed"], "red"),
    "unchanged": (SIGNS["passed"], "green"),
}
SUMMARIES = {"create": "to create", "change": "to change", "delete": "to delete"}


@click.command()
@click.option("-n", "--namespace", help="Plan for the resources of one namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Plan for those of all namespaces, as without -n.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there is something to do.")
@config_options
def plan(namespace: str | None, output: str, *, all_namespaces: bool, exit_code: bool, **flags: Any) -> None:
    """Show what the operator would do to DigDir if it started now. Writes nothing, neither there nor in the cluster.

    Look here before an upgrade, before a setting is changed, before the operator moves to another cluster, or after a
    backup was restored. The passes are the operator's own: they read what it would read, each of their writes is
    shown instead of sent, and DigDir is taken to accept it. Settings are those of `run`, so a changed one can be
    tried:

    \b
    $ kubectl exec -n maskinporten-operator deployment/maskinporten-operator -- maskinporten-operator plan
    $ maskinporten-operator plan -n my-team
    $ maskinporten-operator plan --key-max-age 90d --deletion-policy Delete
    $ maskinporten-operator plan --exit-code -o json > plan.json

    \b
    +  creates a client or a scope          -  deletes a client or a scope for good
    ~  changes what is there                ✗  does nothing, and the resource isn't ready: the reason follows

    It plans the first two minutes: what the operator waits longer for, such as the place of an old key, comes later.
    Where many registrations are missing at once it holds back, and so does the plan. What DigDir would refuse can't
    be known. Keys are told by their ids alone, and a new client or key by no id, since DigDir or the operator makes
    it then.

    Needed are the rights of the operator's ServiceAccount to read, its credentials and its settings. Its leadership
    isn't: it may run meanwhile, and then there is nothing to do but what it has under way.

    Exit codes: 0 if it could be planned, whatever is to do, 1 after a fault, also one that leaves the plan incomplete,
    2 if the configuration can't be used, with --exit-code 3 if something would be written.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    if namespace and all_namespaces:
        raise click.UsageError("Give --namespace or --all-namespaces.")
    config = load_or_exit(flags)

    # After the settings were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.planned_passes import plan_writes  # noqa: PLC0415
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415

    configure_logs("ERROR", "text")  # passes tell what they did, and these did nothing
    with explain_failures(), _show_progress() as on_progress:
        plans = asyncio.run(plan_writes(config, namespace, on_progress))
    echo(render_json(plans) if output == "json" else render_text(plans, namespace))
    if failed := [f"{one.namespace}/{one.name}" for one in plans if one.failed]:
        click.echo(f"Error: the plan is incomplete, since faults kept passes from their end: {show(failed)}", err=True)
        sys.exit(1)
    sys.exit(SOMETHING_TO_DO if exit_code and any(one.writes for one in plans) else 0)


@contextmanager
def _show_progress() -> Iterator[OnProgress]:
    """Show on standard error how far it is, if somebody looks."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    with click.progressbar(length=1, label="Planning", file=sys.stderr) as bar:

        def show(label: str, done: int, total: int) -> None:
            bar.label = label.ljust(len("Reading DigDir's lists"))
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show


def render_json(plans: Sequence[ResourcePlan]) -> str:
    """Render it for programs."""
    document = {"summary": count_actions(plans), "resources": [_build_resource(one) for one in plans]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _build_resource(one: ResourcePlan) -> dict[str, Any]:
    conditions = [*([one.ready] if one.ready else []), *one.notices]
    return {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "action": one.action,
        "writes": [
            {
                "method": write.method,
                "path": write.path,
                "query": dict(write.query),
                "operation": write.operation,
                "target": write.target,
                "changes": [asdict(change) for change in find_changes(write)],
            }
            for write in one.writes
        ],
        "conditions": [
            {"type": it.type, "status": it.status, "reason": str(it.reason), "message": it.message} for it in conditions
        ],
    }


def render_text(plans: Sequence[ResourcePlan], namespace: str | None = None) -> str:
    """Render it for people: what is to do, resource by resource, and the sum of it."""
    if not plans:
        where = f" in namespace {namespace}" if namespace else ""
        return f"There is no MaskinportenClient{where}, and no Application that needs one."
    lines = [line for one in plans if one.action != "unchanged" for line in _list_lines(one)]
    return "\n".join([*lines, *([""] if lines else []), _summarize(plans)])


def _list_lines(one: ResourcePlan) -> Iterator[str]:
    sign, colour = SHOWN[one.action]
    yield click.style(f"{sign} {one.kind} {one.namespace}/{one.name}", fg=colour, bold=True)
    for write in one.writes:
        yield escape(
            f"    {write.operation}: {_name(write)}  ({write.method} {write.path.replace(NEW_CLIENT, 'new-')})"
        )
        for change in find_changes(write):
            yield f"        {escape(_render_change(change))}"
    for verdict in [*([one.ready] if one.ready and one.ready.status != "True" else []), *one.notices]:
        yield f"    {escape(f'{verdict.type} would be {verdict.status}, {verdict.reason}: {verdict.message}')}"


def _name(write: Write) -> str:
    return "the new client" if NEW_CLIENT in write.path else write.name


def _render_change(change: Change) -> str:
    """Render a change; of a list, what is added and what goes."""
    if isinstance(change.old, list) and isinstance(change.new, list):
        gone = [f"- {one}" for one in change.old if one not in change.new]
        come = [f"+ {one}" for one in change.new if one not in change.old]
        return f"{change.field}: {', '.join([*gone, *come]) or 'in another order'}"
    if change.old is None:
        return f"{change.field}: {_show(change.new)}"
    return f"{change.field}: {_show(change.old)} → {_show(change.new)}"


def _show(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _summarize(plans: Sequence[ResourcePlan]) -> str:
    counts = count_actions(plans)
    calls = count(sum(len(one.writes) for one in plans), "write")
    parts = ", ".join(f"{number} {SUMMARIES.get(action, action)}" for action, number in counts.items())
    return f"{count(len(plans), 'resource')}: {parts}; {calls}"
