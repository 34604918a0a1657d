"""Specs that both the API server and the model must accept, or refuse: one table for the tests of either."""

from __future__ import annotations

from typing import Any

MAX_EXPOSED = 500


def exposed(name: str = "some.scope.read", product: str = "arbeid", **fields: Any) -> dict[str, Any]:
    """An exposed scope with what must be there, and more."""
    return {"name": name, "product": product, "enabled": True, **fields}


def exposing(*scopes: dict[str, Any]) -> dict[str, Any]:
    """A spec that exposes scopes."""
    return {"secretName": "some-secret", "scopes": {"exposes": list(scopes)}}


def consuming(*names: str) -> dict[str, Any]:
    """A spec that consumes scopes."""
    return {"secretName": "some-secret", "scopes": {"consumes": [{"name": name} for name in names]}}


EVERY_FIELD: dict[str, Any] = {
    "clientName": "Sjømat og friluft",
    "secretName": "maskinporten-fiskekort-1a2b3c4d",
    "scopes": {
        "consumes": [{"name": "skatteetaten:inntekt"}, {"name": "nav:fiske/kvoter.read"}],
        "exposes": [
            {
                "name": "kort.read",
                "product": "fiske",
                "enabled": True,
                "separator": ":",
                "atMaxAge": 120,
                "allowedIntegrations": ["maskinporten", "idporten", "krr", "ansattporten", "api_klient"],
                "consumers": [{"name": "Én kommune", "orgno": "123456789"}, {"orgno": "889640782"}],
                "accessibleForAll": False,
                "visibility": "private",
            },
            {
                "name": "kort/skriv",
                "product": "fiske",
                "enabled": False,
                "separator": "/",
                "delegationSource": "altinn",
                "accessibleForAll": True,
                "visibility": "public",
            },
        ],
    },
}

ACCEPTED: dict[str, dict[str, Any]] = {
    "every field": EVERY_FIELD,
    "a Secret's name alone": {"secretName": "some-secret"},
    "a Secret's name with dots": {"secretName": "some.secret-1"},
    "no scopes": {"secretName": "some-secret", "scopes": {}},
    "empty lists": {"secretName": "some-secret", "scopes": {"consumes": [], "exposes": []}},
    "an organisation number that fails the check sum": exposing(exposed(consumers=[{"orgno": "123456789"}])),
    "the same consumer twice": exposing(exposed(consumers=[{"orgno": "123456789"}] * 2)),
    "one integration type twice": exposing(exposed(allowedIntegrations=["maskinporten", "maskinporten"])),
    "a consumed scope twice": consuming("skatt:inntekt", "skatt:inntekt"),
    "scopes that only look like those for administering": consuming("idporten:user", "x/idporten:dcr.write"),
    "an exposed scope twice": exposing(exposed(), exposed()),
    "an exposed scope twice, its separator once implied": exposing(exposed(), exposed(separator=":", enabled=False)),
    "one name under two separators": exposing(exposed(separator=":"), exposed(separator="/")),
    "one name in two products": exposing(exposed(product="arbeid"), exposed(product="helse")),
    "delegation with the separator written": exposing(exposed(delegationSource="altinn", separator="/")),
    "delegation with the separator implied": exposing(exposed("some/scope", delegationSource="altinn")),
    "the longest scope": exposing(exposed("a" * 154, "p" * 100)),
    "the oldest and youngest tokens": exposing(exposed("young", atMaxAge=30), exposed("old", atMaxAge=680)),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no Secret's name": ({"scopes": {}}, "secretName"),
    "a Secret's name in capitals": ({"secretName": "Some-Secret"}, "secretName"),
    "a Secret's name too long": ({"secretName": "a" * 254}, "secretName"),
    "an empty client name": ({"secretName": "some-secret", "clientName": ""}, "clientName"),
    "a client name too long": ({"secretName": "some-secret", "clientName": "x" * 256}, "clientName"),
    "a client name with a line break": ({"secretName": "some-secret", "clientName": "a\nb"}, "clientName"),
    "a client name that ends with one": ({"secretName": "some-secret", "clientName": "ab\n"}, "clientName"),
    "a client name with an escape": ({"secretName": "some-secret", "clientName": "a\x1b[31mb"}, "clientName"),
    "a client name with a C1 control": ({"secretName": "some-secret", "clientName": "a\x85b"}, "clientName"),
    "a client name that is read backwards": ({"secretName": "some-secret", "clientName": "a\u202eb"}, "clientName"),
    "a client name with a line separator": ({"secretName": "some-secret", "clientName": "a\u2028b"}, "clientName"),
    "a consumed scope without a prefix": (consuming("inntekt"), "consumes[0].name"),
    "a consumed scope with a space": (consuming("skatt:en to"), "consumes[0].name"),
    "the right to change every client": (consuming("skatt:inntekt", "idporten:dcr.write"), "consumes[1]"),
    "the right to change every scope, in capitals": (consuming("IDporten:Scopes.WRITE"), "consumes[0]"),
    "a consumed scope too long": (consuming("skatt:" + "a" * 250), "consumes[0].name"),
    "too many exposed scopes": (exposing(*(exposed(f"s{i:04}") for i in range(MAX_EXPOSED + 1))), "exposes"),
    "a name that makes a backtracking matcher hang": (exposing(exposed("a" * 40 + "!")), "exposes[0].name"),
    "50,000 such characters": (exposing(exposed("a" * 50_000 + "!")), "exposes[0].name"),
    "50,000 such characters in a Secret's name": ({"secretName": "a" * 50_000 + "!"}, "secretName"),
    "50,000 such characters in a consumed scope": (consuming("a" * 50_000 + "!"), "consumes[0].name"),
    "a name with a line break": (exposing(exposed("ab\n")), "exposes[0].name"),
    "a name too long": (exposing(exposed("a" * 256)), "exposes[0].name"),
    "product and name too long together": (exposing(exposed("a" * 155, "p" * 100)), "at most 255 characters"),
    "a product too long": (exposing(exposed(product="p" * 101)), "exposes[0].product"),
    "a product with Norwegian letters": (exposing(exposed(product="helsehjørnet")), "exposes[0].product"),
    "a name that doesn't fit its separator": (exposing(exposed("some/scope", separator=":")), "match"),
    "a separator of another kind": (exposing(exposed(separator="-")), "exposes[0].separator"),
    "nine Arabic-Indic digits": (exposing(exposed(consumers=[{"orgno": "١٢٣٤٥٦٧٨٩"}])), "consumers[0].orgno"),
    "ten digits": (exposing(exposed(consumers=[{"orgno": "1234567890"}])), "consumers[0].orgno"),
    "tokens that live too briefly": (exposing(exposed(atMaxAge=29)), "exposes[0].atMaxAge"),
    "tokens that live too long": (exposing(exposed(atMaxAge=681)), "exposes[0].atMaxAge"),
    "integration types without maskinporten": (
        exposing(exposed(allowedIntegrations=["krr"])),
        "allowedIntegrations must contain maskinporten",
    ),
    "no integration types": (exposing(exposed(allowedIntegrations=[])), "exposes[0].allowedIntegrations"),
    "delegation with the separator `:` implied": (exposing(exposed(delegationSource="altinn")), "delegationSource"),
    "delegation with another separator": (
        exposing(exposed(delegationSource="altinn", separator=".")),
        "delegationSource",
    ),
    "delegation by somebody else": (exposing(exposed("a/b", delegationSource="digdir")), "delegationSource"),
    "a visibility of another kind": (exposing(exposed(visibility="secret")), "exposes[0].visibility"),
}
