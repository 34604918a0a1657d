"""The Secret with the credentials: what is in it, whose it is, what should be in it."""

import copy
import json
from base64 import b64decode, b64encode
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.plan.secret import (
    ObservedSecret,
    build_fingerprint,
    build_secret,
    check_secret,
    summarize_secret,
)
from tests.unit.fakes import (
    SERVER,
    as_read,
    decode,
    encode,
    owner_reference,
    private_jwk,
    resource,
)

META = resource().meta
JWK = private_jwk(1)


def build(**changes):
    arguments = {"client_id": "client-1", "jwk": JWK, "scopes": ["b:b", "a:a"], "server": SERVER} | changes
    return build_secret(META, "some-secret", **arguments)


def read(**changes):
    manifest = copy.deepcopy(build())
    manifest["metadata"]["uid"] = "secret-uid"
    return manifest | changes


def test_a_secret_is_the_same_to_the_byte_for_the_same_input():
    assert json.dumps(build()) == json.dumps(build())


def test_a_secret_has_all_that_a_workload_needs():
    secret = build()

    assert {key: decode(secret, key) for key in secret["data"]} == {
        "MASKINPORTEN_CLIENT_ID": "client-1",
        "MASKINPORTEN_CLIENT_JWK": JWK.serialize(),
        "MASKINPORTEN_SCOPES": "b:b a:a",
        "MASKINPORTEN_WELL_KNOWN_URL": SERVER.well_known_url,
        "MASKINPORTEN_ISSUER": SERVER.issuer,
        "MASKINPORTEN_JWKS_URI": SERVER.jwks_uri,
        "MASKINPORTEN_TOKEN_ENDPOINT": SERVER.token_endpoint,
    }


def test_a_secret_is_owned_by_its_resource_and_found_by_its_label():
    metadata = build()["metadata"]

    assert metadata["ownerReferences"] == [owner_reference()]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "maskinporten-operator"
    assert metadata["namespace"] == META.namespace


def test_what_is_built_is_read_again():
    secret = as_read(build())

    assert secret.client_id == "client-1"
    assert secret.jwk == JWK
    assert secret.uid == "secret-uid"


# What differs


def test_an_absent_secret_must_be_written():
    assert check_secret(None, build()) == "it doesn't exist"


def test_a_secret_as_built_is_left_alone():
    assert check_secret(as_read(build()), build()) is None


@pytest.mark.parametrize("key", list(build()["data"]))
@pytest.mark.parametrize("change", ["edited", "removed"])
def test_each_value_that_differs_is_named(key, change):
    manifest = read()
    if change == "edited":
        manifest["data"][key] = encode("edited")
    else:
        del manifest["data"][key]

    assert check_secret(ObservedSecret(manifest), build()) == f"{key} differ"


def test_a_value_is_named_and_never_shown():
    reason = check_secret(as_read(build()), build(jwk=private_jwk(2)))

    assert reason == "MASKINPORTEN_CLIENT_JWK differ"


@pytest.mark.parametrize("part", ["labels", "annotations"])
def test_each_label_and_annotation_of_ours_that_differs_is_named(part):
    manifest = read()
    (first, *_) = manifest["metadata"][part]
    manifest["metadata"][part][first] = "edited"
    assert check_secret(ObservedSecret(manifest), build()) == f"{part} {first} differ"

    del manifest["metadata"][part]
    assert first in check_secret(ObservedSecret(manifest), build())


def test_a_lost_owner_reference_is_named():
    manifest = read()
    manifest["metadata"]["ownerReferences"] = [owner_reference() | {"controller": False}]

    assert check_secret(ObservedSecret(manifest), build()) == "ownerReferences differ"


def test_what_others_added_is_left_alone():
    manifest = read()
    manifest["data"]["THEIRS"] = encode("x")
    manifest["metadata"]["labels"]["theirs"] = "x"
    manifest["metadata"]["annotations"]["theirs"] = "x"
    manifest["metadata"]["ownerReferences"].append(owner_reference(kind="Theirs", uid="theirs"))

    assert check_secret(ObservedSecret(manifest), build()) is None


def test_a_secret_without_data_lacks_everything():
    assert check_secret(ObservedSecret(read(data=None)), build()) == f"{', '.join(build()['data'])} differ"


# Whose it is


def owned_by(*references):
    return ObservedSecret({"metadata": {"name": "some-secret", "ownerReferences": list(references)}})


def test_the_resource_with_the_uid_owns_it():
    assert owned_by(owner_reference()).is_owned_by(META)
    assert not owned_by(owner_reference()).was_owned_by_namesake(META)


@pytest.mark.parametrize("ours_controls", [True, False])
def test_of_two_owners_the_controlling_one_owns_it(ours_controls):
    ours = owner_reference() | {"controller": ours_controls}
    theirs = owner_reference("other", "other-app") | {"controller": not ours_controls}

    assert owned_by(ours, theirs).is_owned_by(META) == ours_controls
    assert owned_by(theirs, ours).is_owned_by(META) == ours_controls


def test_of_two_owners_neither_owns_it_if_neither_controls():
    references = [owner_reference(), owner_reference("other", "other-app")]
    for reference in references:
        del reference["controller"]

    assert not owned_by(*references).is_owned_by(META)
    assert owned_by(references[0]).is_owned_by(META)


def test_an_earlier_resource_of_the_name_doesnt_own_it_any_more():
    earlier = owned_by(owner_reference(uid="earlier"))

    assert not earlier.is_owned_by(META)
    assert earlier.was_owned_by_namesake(META)


def test_a_resource_of_another_name_is_no_namesake():
    other = owned_by(owner_reference(uid="other", name="other-app"))

    assert not other.is_owned_by(META)
    assert not other.was_owned_by_namesake(META)
    assert [owner["name"] for owner in other.owners] == ["other-app"]


@pytest.mark.parametrize(
    "reference",
    [
        owner_reference(kind="AzureAdApplication"),
        owner_reference() | {"apiVersion": "example.com/v1"},
        owner_reference() | {"apiVersion": "nais.io.example.com/v1"},
    ],
    ids=["kind", "group", "group that begins like ours"],
)
def test_an_owner_of_another_kind_is_no_owner(reference):
    assert not owned_by(reference).is_owned_by(META)
    assert not owned_by(reference | {"uid": "earlier"}).was_owned_by_namesake(META)


def test_an_owner_of_another_version_of_our_kind_owns_it():
    assert owned_by(owner_reference() | {"apiVersion": "nais.io/v2"}).is_owned_by(META)


@pytest.mark.parametrize("metadata", [{}, {"ownerReferences": None}])
def test_a_secret_without_owners_is_nobodys(metadata):
    assert ObservedSecret({"metadata": {"name": "s", **metadata}}).owners == ()


# What it doesn't tell


@given(st.one_of(st.binary().map(lambda raw: b64encode(raw).decode()), st.text(), st.none()))
def test_whatever_a_secret_holds_it_is_read_without_a_fault(value):
    secret = ObservedSecret(
        {"metadata": {}, "data": {"MASKINPORTEN_CLIENT_JWK": value, "MASKINPORTEN_CLIENT_ID": value}}
    )

    assert secret.jwk is None
    assert secret.client_id is None or isinstance(secret.client_id, str)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format])
def test_its_text_form_is_its_name(show):
    assert show(as_read(build())) == "ObservedSecret(some-secret)"


# Its fingerprint


def fingerprint(**changes):
    arguments = {"client_id": "client-1", "kid": JWK.kid, "scopes": ("b:b", "a:a"), "server": SERVER} | changes
    return build_fingerprint(**arguments)


def test_a_fingerprint_is_the_same_for_the_same_secret():
    assert fingerprint() == fingerprint(scopes=iter(["b:b", "a:a"]), server=replace(SERVER))


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "client-2"},
        {"kid": private_jwk(2).kid},
        {"scopes": ("b:b",)},
        {"scopes": ("b:b", "a:a", "c:c")},
        {"scopes": ("a:a", "b:b")},
        {"scopes": ()},
        *({"server": replace(SERVER, **{one.name: "http://elsewhere.test/"})} for one in fields(SERVER)),
    ],
    ids=str,
)
def test_a_fingerprint_changes_with_each_thing_that_is_in_the_secret(changes):
    assert fingerprint(**changes) != fingerprint()


def test_what_is_next_to_each_other_isnt_mixed_up_in_a_fingerprint():
    assert fingerprint(client_id="client-1", kid="a") != fingerprint(client_id="client-1a", kid="")
    assert fingerprint(scopes=("a:a", "b:b")) != fingerprint(scopes=("a:ab:b",))
    assert fingerprint(kid="a", scopes=("b:b",)) != fingerprint(kid="ab:b", scopes=())


def test_a_fingerprint_is_short_and_is_no_part_of_the_secret():
    assert len(fingerprint()) == 16
    assert not [value for value in build()["data"].values() if fingerprint() in b64decode(value).decode()]


# By its summary


def summarize(manifest):
    return summarize_secret(as_read(manifest))


def test_a_summary_tells_that_a_secret_is_as_it_should_be():
    summary = summarize(build())

    assert check_secret(summary, build(jwk=None)) is None
    assert (summary.owner_uid, summary.client_id, summary.jwk.kid) == (META.uid, "client-1", JWK.kid)
    assert JWK.public().matches(summary.jwk)
    assert not private_jwk(2).public().matches(summary.jwk)


def test_a_summary_has_nothing_that_is_secret():
    text = repr(summarize(build()))

    assert not [one for one in fields(JWK.key) if one.name not in "ne" and getattr(JWK.key, one.name) in text]


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "client-2"}, {"scopes": ["a:a"]}, {"server": replace(SERVER, issuer="http://other/")}],
    ids=str,
)
def test_a_summary_tells_that_something_else_is_wanted(changes):
    assert check_secret(summarize(build()), build(jwk=None, **changes)) == "it differs"


def edit(manifest, part, name, value):
    section = manifest["data"] if part == "data" else manifest["metadata"][part]
    if value is None:
        section.pop(name)
    else:
        section[name] = value


EDITS = [
    *(("data", name, value) for name in build()["data"] for value in (None, "", encode("another"), "no base64")),
    *(("labels", name, value) for name in build()["metadata"]["labels"] for value in (None, "another")),
    *(("annotations", name, value) for name in build()["metadata"]["annotations"] for value in (None, "false")),
]


@pytest.mark.parametrize(("part", "name", "value"), EDITS, ids=str)
def test_whatever_is_edited_in_a_secret_its_summary_doesnt_pass_for_the_one_that_is_wanted(part, name, value):
    edited = copy.deepcopy(build())
    edit(edited, part, name, value)
    assert check_secret(as_read(edited), build())

    summary = summarize(edited)

    assert summary is None or check_secret(summary, build(jwk=None))


@pytest.mark.parametrize(
    "references",
    [
        [],
        [owner_reference(), owner_reference("another-uid", "another-app") | {"controller": False}],
        [owner_reference() | {"blockOwnerDeletion": False}],
        [owner_reference() | {"apiVersion": "nais.io/v2"}],
        [owner_reference("another-uid")],
    ],
    ids=["none", "two", "changed", "version", "namesake"],
)
def test_a_secret_with_other_owners_than_the_one_is_not_taken_for_as_it_should_be(references):
    manifest = copy.deepcopy(build())
    manifest["metadata"]["ownerReferences"] = references
    summary = summarize(manifest)

    assert summary is None or check_secret(summary, build(jwk=None))


def test_a_key_that_is_written_in_another_way_has_to_be_looked_at():
    members = dict(reversed(json.loads(JWK.serialize()).items()))
    manifest = copy.deepcopy(build())
    manifest["data"]["MASKINPORTEN_CLIENT_JWK"] = encode(json.dumps(members))
    assert as_read(manifest).jwk == JWK

    assert summarize(manifest) is None


def test_what_others_added_to_a_secret_is_left_alone_by_its_summary_too():
    manifest = copy.deepcopy(build())
    manifest["data"]["MORE"] = encode("more")
    manifest["metadata"]["labels"]["more"] = manifest["metadata"]["annotations"]["more"] = "more"

    assert check_secret(summarize(manifest), build(jwk=None)) is None
