"""Every command of the tutorial and of the pages that say how, as they stand, on the local control plane."""

import pytest

from tests.docs.blocks import Command, read_page, read_section
from tools.generate.__main__ import ROOT

pytestmark = pytest.mark.e2e

DOCS = ROOT / "docs"
LEFT_OUT = {
    "kind create cluster": "takes a container engine; the tests' control plane is there already",
    "SIGNER=": "as `make image`",
    "TRACING=": "as `make image`",
    "make image": "takes a container engine: `make image-check` and tests/node build the image",
    "kind load docker-image": "takes kind",
    "docker push": "takes a registry",
    "maskinporten-operator check --granted": "calls the real DigDir",
    "curl -H": "calls an API that is an example",
    "kubectl logs": "kwok has no logs of its pods",
    "kubectl get --raw": "leads to a pod's address, and kwok's pods have none that is reached",
    "kubectl top": "takes a metrics server",
}
"""How commands begin that aren't run, and why."""
TOKEN = "kubectl exec -n my-team deployment/my-app -- python3"
MY_APP = (
    "kubectl apply -f deploy/examples/consume.yaml",
    "kubectl wait applications.nais.io/my-app -n my-team --for=condition=Ready --timeout=60s",
)
WITHOUT_MY_APP = (
    "kubectl delete applications.nais.io my-app -n my-team",
    "kubectl wait maskinportenclient/my-app -n my-team --for=delete --timeout=60s",
)
OLD_NAME = (
    "sed s/my-app/old-name/ deploy/examples/consume.yaml | kubectl apply -f -",
    "kubectl wait applications.nais.io/old-name -n my-team --for=condition=Ready --timeout=60s",
)
NOTHING_LEFT = (
    "kubectl annotate maskinportenclients.nais.io --all -n my-team digdir.nais.io/delete=true --overwrite || true",
    "kubectl delete applications.nais.io,maskinportenclients.nais.io --all -n my-team",
)
"""After a page: the client goes too, since the next page's would take over its keys, of which an hour has five."""
VERIFIED = "kubectl wait maskinportenclient/my-app -n my-team --for=condition=Verified --timeout=60s"
NOT_GRANTED = (
    "sed s/skatt:some.scope/ks:not.granted/ deploy/examples/consume.yaml | kubectl apply -f -",
    "kubectl wait applications.nais.io/my-app -n my-team --for=condition=Ready=False --timeout=60s",
)
PAGES = {
    "consume.md": {"With a MaskinportenClient": WITHOUT_MY_APP},
    "expose.md": {},
    "using.md": {"Using it": MY_APP},
    "rename.md": {"An Application that keeps its client": OLD_NAME},
    "delete.md": {"Delete for good": MY_APP, "When DigDir is gone for good": MY_APP},
    "move.md": {"An Application of NAIS's": MY_APP},
    "debug.md": {"Look": MY_APP},
    "commands.md": {"status": NOT_GRANTED, "token": (*MY_APP, VERIFIED)},
}
"""Pages that say how, and what is there before a section begins, as the commands that make it."""
INSTALL = "2. The operator"
"""The section of the tutorial that installs it."""


def test_the_tutorial_ends_with_a_token_within_ten_minutes(reader, record_property):
    reading = reader.read((DOCS / "tutorial.md").read_text(), {}, LEFT_OUT)

    seconds = reading.seconds_until(TOKEN)
    assert seconds < 600
    record_property("seconds to the first token, without the image", f"{seconds:.1f}")


@pytest.fixture(scope="module")
def installed(make_reader):
    """A release as the tutorial has it, with a namespace for a team."""
    reader = make_reader()
    reader.run(*read_section((DOCS / "tutorial.md").read_text(), INSTALL))
    reader.run("kubectl get namespace my-team || kubectl create namespace my-team")
    yield reader
    reader.run("helm uninstall maskinporten-operator -n maskinporten-operator")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_does_what_the_page_shows(installed, make_reader, page):
    reader = make_reader()

    reading = reader.read((DOCS / page).read_text(), PAGES[page], LEFT_OUT)

    assert reading.seconds
    reader.run(*NOTHING_LEFT)


def test_what_the_runbooks_look_at_can_be_looked_at(installed):
    """In a cluster without a fault: that the commands work, each of them once, since many runbooks have the same."""
    pages = [page.read_text() for page in sorted((DOCS / "runbooks").glob("*.md"))]
    commands = [one for page in pages for one in read_page(page) if isinstance(one, Command)]
    once = {one.text.partition("    #")[0]: one for one in commands if not one.text.startswith(tuple(LEFT_OUT))}

    installed.run(*MY_APP, *once.values(), *NOTHING_LEFT)

    assert once
