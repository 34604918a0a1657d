"""The page for those who administer the cluster, from installing to the end, with a simulator in DigDir's place."""

import pytest

from tests.docs.test_pages import DOCS, LEFT_OUT, MY_APP

pytestmark = pytest.mark.e2e

REAL_DIGDIR = {"maskinporten-operator doctor --cluster-name": "calls the real DigDir, from this machine"}
INSTALLED = (
    "helm install maskinporten-operator deploy/chart -n maskinporten-operator --values values.yaml",
    "kubectl rollout status deployment/maskinporten-operator -n maskinporten-operator",
)
GIVEN = {
    "Renew the credentials": ("cp admin.jwk new.jwk",),
    "MassAbsence": ("kubectl create namespace my-team", *MY_APP),
    "With all resources": INSTALLED,
}


def test_every_command_of_operating_does_what_the_page_shows(make_reader):
    reading = make_reader().read((DOCS / "operating.md").read_text(), GIVEN, [*LEFT_OUT, *REAL_DIGDIR])

    assert reading.seconds
