"""Keys as JSON Web Keys: what is read, what is believed, what is shown."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.jwk import MAX_JWK_LENGTH, PrivateJwk, PublicJwk, RsaKey
from maskinporten_operator.plan.secret import ObservedSecret
from tests.unit.fakes import encode, private_jwk

JWK = private_jwk(1)
OTHER = private_jwk(2)
TEXT = JWK.serialize()
MEMBERS = json.loads(TEXT)
NUMBERS = tuple(field.name for field in fields(RsaKey))
PRIVATE_NUMBERS = tuple(name for name in NUMBERS if name not in {"n", "e"})

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
any_json = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def find(**changes):
    members = {name: value for name, value in {**MEMBERS, **changes}.items() if value is not ...}
    return PrivateJwk.find(json.dumps(members))


# Reading


def test_what_is_serialised_is_found_again():
    assert PrivateJwk.find(TEXT) == JWK


def test_the_order_and_spacing_of_the_text_dont_matter():
    assert PrivateJwk.find(json.dumps(dict(reversed(MEMBERS.items())), indent=2)) == JWK


def test_members_beyond_the_key_are_left_aside():
    assert find(x5c=["abc"], use="enc", alg=...) == JWK


@pytest.mark.parametrize("text", [None, "", " ", "null", "[]", "{}", "5", '"text"', "not json", "{", "\ud800", "NaN"])
def test_junk_is_no_key(text):
    assert PrivateJwk.find(text) is None


@pytest.mark.parametrize("text", ["[" * 5000, '{"kid":' * 2000 + "1" + "}" * 2000, "9" * 5000, '{"kid":' + "9" * 5000])
def test_junk_that_strains_a_parser_is_no_key(text):
    assert PrivateJwk.find(text) is None


def test_a_text_too_long_for_any_key_is_not_even_parsed():
    padded = TEXT + " " * (MAX_JWK_LENGTH - len(TEXT))

    assert PrivateJwk.find(padded) == JWK
    assert PrivateJwk.find(padded + " ") is None


@given(any_json)
def test_any_json_is_read_without_a_fault(value):
    assert PrivateJwk.find(json.dumps(value)) is None


@given(st.text())
def test_any_text_is_read_without_a_fault(text):
    assert PrivateJwk.find(text) is None


@given(st.sampled_from(NUMBERS), any_json)
def test_a_key_with_any_json_for_a_number_is_not_usable(name, value):
    assert find(**{name: value}) is None or value == MEMBERS[name]


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_a_key_with_any_character_replaced_is_found_whole_or_not_at_all(place, character):
    found = PrivateJwk.find(TEXT[:place] + character + TEXT[place + 1 :])

    assert found is None or found.key == JWK.key


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_number_whose_spare_bits_are_set_is_not_base64url_and_not_usable():
    names = [name for name in NUMBERS if len(MEMBERS[name]) % 4]  # one key in some hundreds has a shorter number
    assert "n" in names
    for name in names:
        number = MEMBERS[name]
        last = LETTERS[LETTERS.index(number[-1]) + 1]

        assert find(**{name: number[:-1] + last}) is None, name


@given(st.integers(0, len(TEXT)))
def test_a_key_that_is_cut_off_is_not_usable(length):
    assert PrivateJwk.find(TEXT[:length]) is None or length == len(TEXT)


@pytest.mark.parametrize("name", ["kid", *NUMBERS])
def test_a_key_that_lacks_a_member_is_not_usable(name):
    assert find(**{name: ...}) is None


@pytest.mark.parametrize("name", NUMBERS)
def test_a_key_with_another_keys_number_is_not_usable(name):
    if name == "e":  # the same for all keys
        assert find(e="AQAD") is None
    else:
        assert find(**{name: getattr(OTHER.key, name)}) is None


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", ["", "AA", "AQ"], ids=["nothing", "zero", "one"])
def test_a_key_with_a_number_of_nothing_zero_or_one_is_not_usable(name, number):
    assert find(**{name: number}) is None


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("junk", ["!", "\n", " ", "=", "é"])
def test_a_number_with_characters_that_others_refuse_is_not_usable(name, junk):
    number = MEMBERS[name]

    assert find(**{name: number[:2] + junk + number[2:]}) is None
    assert find(**{name: number + junk}) is None


def test_a_number_in_the_other_base64_alphabet_is_not_usable():
    key = next(one for one in map(private_jwk, range(3, 30)) if {"-", "_"} & set(one.key.d))
    members = json.loads(key.serialize())

    assert PrivateJwk.find(json.dumps(members | {"d": key.key.d.replace("-", "+").replace("_", "/")})) is None


# Writing


def test_a_key_is_written_on_one_line_in_one_order():
    assert list(MEMBERS) == ["use", "kty", "kid", "alg", "n", "e", "d", "p", "q", "dp", "dq", "qi"]
    assert "\n" not in TEXT
    assert private_jwk(1).serialize() == TEXT
    assert (MEMBERS["use"], MEMBERS["kty"], MEMBERS["alg"]) == ("sig", "RSA", "RS256")


def test_the_public_half_holds_nothing_private():
    members = JWK.public().members

    assert set(members) == {"kty", "use", "alg", "kid", "n", "e"}
    assert JWK.public().matches(JWK)


@pytest.mark.parametrize("name", ["kid", "n", "e"])
def test_a_public_key_matches_only_its_own_private_half(name):
    members = dict(JWK.public().members)

    assert not PublicJwk({**members, name: "other"}).matches(JWK)


def test_a_registered_key_that_tells_no_numbers_matches_nothing():
    assert not PublicJwk({"kid": JWK.kid}).matches(JWK)


@pytest.mark.parametrize(("exp", "expires"), [(1_900_000_000, 1_900_000_000.0), (None, None)])
def test_a_public_key_expires_when_the_api_said_so(exp, expires):
    assert PublicJwk({"kid": "a", "exp": exp}).expires == expires
    assert PublicJwk({"kid": "a"}).expires is None


@pytest.mark.parametrize(
    ("written", "created"),
    [
        ("2026-01-19T09:40:37.258551Z", datetime(2026, 1, 19, 9, 40, 37, 258551, UTC)),
        ("2021-01-13T00:53:56.301+01:00", datetime(2021, 1, 12, 23, 53, 56, 301000, UTC)),
        ("2021-01-13T10:53:56", None),
        ("0001-01-01T00:00:00+02:00", None),
        ("yesterday", None),
        (1_600_000_000, None),
    ],
)
def test_when_a_key_was_registered_is_told_in_utc_whatever_the_api_wrote(written, created):
    found = PublicJwk({"kid": "a", "created": written}).created

    assert found == created
    assert found is None or found.tzinfo is UTC


# Showing


@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{!r}".format, "{!s}".format, lambda one: f"{one}", lambda one: f"{[one]}", ascii],
)
@pytest.mark.parametrize(
    "private",
    [
        JWK,
        JWK.key,
        ObservedSecret({"metadata": {"name": "s"}, "data": {"MASKINPORTEN_CLIENT_JWK": encode(TEXT)}}),
        {"nested": (JWK, replace(JWK, kid="other"))},
    ],
    ids=["jwk", "numbers", "secret", "nested"],
)
def test_no_text_form_of_something_private_shows_a_private_number(private, show):
    text = show(private)

    assert not [name for name in PRIVATE_NUMBERS if MEMBERS[name] in text]
    assert encode(TEXT)[:40] not in text


def test_the_text_form_of_a_key_names_it():
    assert repr(JWK) == f"PrivateJwk({JWK.kid})"
    assert str(JWK.key) == "RsaKey(…)"
