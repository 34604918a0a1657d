"""`make demo` and `make demo-down`: an Application on its way to a token, on this machine."""

from __future__ import annotations

import signal
import sys

import click

from tools.demo.node_stage import NodeStage
from tools.demo.stage import FOLDER, BusyError, Stage, clear, only_one, prepare
from tools.demo.story import APP, SECRET, TEAM, Story
from tools.demo.terminal import Terminal, UnexpectedError
from tools.programs import ToolError

INTERRUPTED = 128 + signal.SIGINT
AGAIN = """
To look around afterwards: KEEP=1 make demo
It leaves all of it running, names the commands, and has a page that shows what DigDir knows and every call it got."""


@click.group(help=__doc__, invoke_without_command=True)
@click.option("--keep", is_flag=True, envvar="KEEP", show_envvar=True, help="Leave everything running at the end.")
@click.option("--node", is_flag=True, envvar="NODE", show_envvar=True, help="On a node with real pods.")
@click.pass_context
def main(context: click.Context, *, keep: bool, node: bool) -> None:
    """Play the demo, unless another command is given."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if context.invoked_subcommand is None:
        try:
            with only_one():
                stage = NodeStage() if node else Stage()
                stage.build()
                prepare()
                sys.exit(play(stage, Terminal(), keep=keep))
        except BusyError as error:
            sys.exit(str(error))
        except ToolError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)


@main.command()
def down() -> None:
    """End a demo that was left running, and remove its files."""
    try:
        with only_one():
            print("The demo is stopped and removed." if clear() else "No demo is running here.")
    except BusyError as error:
        sys.exit(str(error))


def play(stage: Stage, terminal: Terminal, *, keep: bool) -> int:
    """Play the story and end what was started; give the exit code."""
    terminal.plain("From an Application to a token, on a real Kubernetes API server.")
    story = Story(stage, terminal)
    code, keep_logs = 1, True
    try:
        story.play()
        code, keep_logs = 0, False
    except KeyboardInterrupt:
        code, keep_logs = INTERRUPTED, False
        terminal.fail("Interrupted.")
    except UnexpectedError as error:
        terminal.fail(f"Expected: {error.expected}\n  Seen:     {error.seen}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and all is ended
        terminal.fail(f"{type(error).__name__}: {error}")
    except BaseException:
        keep_logs = False
        raise
    finally:
        if code or not keep:
            # A second Ctrl-C must not keep the first from ending everything.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stage.stop(keep_logs=keep_logs)
        else:
            stage.keep()
    if code == 0:
        terminal.heading("In short")
        terminal.tabulate(story.summary)
        if keep:
            _explain(stage, terminal)
        else:
            terminal.succeed("everything is stopped and removed")
            terminal.plain(AGAIN)
    elif keep_logs:
        terminal.plain(f"  Logs:     {FOLDER}/operator.log, simulator.log, control-plane-logs/")
        terminal.plain("  Everything is stopped.")
    else:
        terminal.plain("  Everything is stopped and removed.")
    return code


def _explain(stage: Stage, terminal: Terminal) -> None:
    """Say how to look around."""
    url = stage.simulator.url
    terminal.heading("It keeps running. To look around:")
    for line in (
        f"Open {url}/ in a browser: clients, keys, scopes, every call, and faults to switch on.",
        "",
        f"export KUBECONFIG={stage.cluster.admin_kubeconfig}",
        f"alias kubectl={FOLDER}/bin/kubectl   # unless you have one",
        f"kubectl get applications.nais.io,maskinportenclients,deployments,pods,networkpolicies -n {TEAM}",
        f"kubectl describe applications.nais.io {APP} -n {TEAM}",
        f"kubectl edit applications.nais.io {APP} -n {TEAM}",
        f"kubectl annotate maskinportenclient {APP} -n {TEAM} digdir.nais.io/rotate=true",
        f"kubectl get secret {SECRET} -n {TEAM} -o yaml",
        "",
        "# the same without a browser (docs/simulator.md)",
        f"curl {url}/control/state",
        f"curl {url}/control/ledger/summary",
        f"curl -X PATCH {url}/control/settings -d '{{\"latency_ms\": 500}}'",
        "",
        "# the operator's metrics and the logs",
        *stage.describe_operator(),
    ):
        terminal.plain(f"  {line}".rstrip())
    terminal.plain("\nStop it with: make demo-down")


if __name__ == "__main__":
    main(prog_name="python -m tools.demo")
