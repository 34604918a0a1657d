"""The documentation names what the code says."""

import ast
import re

import pytest
from markdown.extensions.toc import slugify
from markdown_it import MarkdownIt

from maskinporten_operator.model.conditions import (
    ALL_FIELDS_SUPPORTED,
    AVAILABLE,
    REGISTRATION_UNIQUE,
    ROTATED,
    VERIFIED,
    Reason,
)
from maskinporten_operator.plan.remedies import REMEDIES
from tools.generate.__main__ import ROOT

USING = (ROOT / "docs" / "using.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", USING.split("## Is it ready?")[1].split("\n## ")[0], re.MULTILINE))
NOTICES = {
    Reason.DUPLICATE_REGISTRATIONS: REGISTRATION_UNIQUE,
    Reason.FIELDS_NOT_SUPPORTED: ALL_FIELDS_SUPPORTED,
    Reason.AVAILABLE: AVAILABLE,
    Reason.NO_IMAGE: AVAILABLE,
    Reason.ROLLING_OUT: AVAILABLE,
    Reason.ROLLOUT_FAILED: AVAILABLE,
    Reason.WAITING_FOR_CREDENTIALS: AVAILABLE,
    Reason.WORKLOAD_ELSEWHERE: AVAILABLE,
    Reason.TOKEN_ISSUED: VERIFIED,
    Reason.NO_SCOPES: VERIFIED,
    Reason.WAITING_FOR_PROPAGATION: VERIFIED,
    Reason.SCOPE_REFUSED: VERIFIED,
    Reason.TOKEN_REFUSED: VERIFIED,
    Reason.REQUEST_REPEATED: ROTATED,
    Reason.KEYS_IN_USE: ROTATED,
}
"""Reasons of conditions beside Ready, by their condition."""


@pytest.mark.parametrize("reason", sorted(set(Reason) - set(NOTICES)))
def test_every_reason_has_a_row_that_says_what_ready_is(reason):
    assert re.match(r"True|False|Unknown|–", ROWS[reason])


@pytest.mark.parametrize(("reason", "condition"), NOTICES.items())
def test_every_reason_of_another_condition_is_told_with_it(reason, condition):
    assert re.search(rf"^\*\*`{condition}`\*\* .*`{reason}`", USING, re.MULTILINE)


def test_every_row_says_who_can_fix_it_in_the_words_of_the_status_command():
    cells = re.findall(r"^\| `(\w+)` \| [^|]* \| [^|]* \| ([^|]*) \|$", USING, re.MULTILINE)
    said = {Reason(reason): re.sub(r"`|\[|\]\([^)]*\)", "", cell) for reason, cell in cells if reason in set(Reason)}

    assert {reason: cell for reason, cell in said.items() if cell != "–"} == REMEDIES


def test_there_is_no_row_for_a_reason_that_nobody_gives():
    assert set(ROWS) <= set(Reason)


DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SAVED = {name for one in DOCUMENTS for name in re.findall(r'^```.* title="([^"]+)"', one.read_text(), re.MULTILINE)}
"""Files that a page has its reader save."""
NAMED = {place for one in DOCUMENTS for place in re.findall(r"`([\w/]+\.py)(?::(\w+))?`", one.read_text())}
PLACES = sorted((path, name) for path, name in NAMED if path not in SAVED)
"""Files that the documents name, from the repository's root or a package's, each perhaps with a function in it."""


@pytest.mark.parametrize(("path", "name"), PLACES, ids=lambda one: one or "the file")
def test_every_place_that_a_document_names_is_there(path, name):
    found = [one for pattern in (path, f"src/*/{path}", f"src/**/{path}") for one in ROOT.glob(pattern)]

    assert found
    assert not name or name in {
        one.name
        for one in ast.walk(ast.parse(found[0].read_text()))
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def list_links(path):
    """Give where the relative links of a document lead, each a path and an anchor or nothing."""
    inline = (child for token in MarkdownIt().parse(path.read_text()) for child in token.children or ())
    targets = (child.attrs["href"].partition("#") for child in inline if child.type == "link_open")
    return [(path.parent / target if target else path, anchor) for target, _, anchor in targets if ":" not in target]


def list_anchors(path):
    tokens = MarkdownIt().parse(path.read_text())
    headings = (tokens[index + 1] for index, token in enumerate(tokens) if token.type == "heading_open")
    texts = ("".join(child.content for child in heading.children) for heading in headings)
    return {slugify(text, "-") for text in texts}


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "README.md"])
def test_links_of_what_is_beside_the_site_lead_somewhere(name):
    links = list_links(ROOT / name)

    assert links
    assert [str(path) for path, _ in links if not path.exists()] == []
    assert [(path.name, anchor) for path, anchor in links if anchor and anchor not in list_anchors(path)] == []
