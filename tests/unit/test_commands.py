"""What all commands have in common."""

import pytest
from click.testing import CliRunner

from maskinporten_operator.cli import main
from tools.generate.__main__ import ROOT

DOCUMENTATION = (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_what_the_documentation_says(shell):
    variable = "_MASKINPORTEN_OPERATOR_COMPLETE"
    outcome = CliRunner().invoke(main, prog_name="maskinporten-operator", env={variable: f"{shell}_source"})

    assert (outcome.exit_code, "maskinporten_operator_completion" in outcome.stdout) == (0, True)
    assert f"{variable}={shell}_source maskinporten-operator" in DOCUMENTATION


@pytest.mark.parametrize("command", main.commands)
def test_every_command_is_in_the_documentation_and_says_its_exit_codes(command):
    outcome = CliRunner().invoke(main, [command, "--help"])

    assert "Exit codes:" in outcome.stdout
    assert f"`{command}`" in DOCUMENTATION


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "last", "found"),
    [
        ("maskinporten-operator ", "", set(main.commands)),
        ("maskinporten-operator token --", "--", {"--scope", "--resource", "--consumer-org", "--raw"}),
        ("maskinporten-operator check --gr", "--gr", {"--granted"}),
        ("maskinporten-operator token app -o ", "", {"text", "json"}),
    ],
)
def test_shells_complete_every_command_and_its_options(shell, words, last, found):
    number = last if shell == "fish" else str(len(words.split(" ")) - 1)
    variables = {"COMP_WORDS": words, "COMP_CWORD": number}
    variable = {"_MASKINPORTEN_OPERATOR_COMPLETE": f"{shell}_complete"}
    outcome = CliRunner().invoke(main, prog_name="maskinporten-operator", env=variables | variable)

    assert found <= set(outcome.stdout.replace(",", "\n").replace("\t", "\n").splitlines())
