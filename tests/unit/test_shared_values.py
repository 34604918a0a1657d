"""What is the same in many documents is kept once."""

import json
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.adapters.digdir.wire import read_registration
from maskinporten_operator.model.shared_values import share_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def decode_registration(client_id):
    members = {"client_id": client_id, "scopes": ["nav:some.scope"], "client_name": "Some Organisation"}
    key = {"kid": f"key-of-{client_id}", "kty": "RSA", "key_ops": ["verify"]}
    return read_registration(json.loads(json.dumps(members | {"jwks": {"keys": [key]}})))


@given(st.dictionaries(st.text(), JSON))
def test_what_is_shared_is_what_it_was(fields):
    assert json.dumps(share_values(fields)) == json.dumps(fields)


def test_clients_have_in_common_what_is_the_same_in_them():
    one, other = decode_registration("client-1"), decode_registration("client-2")

    assert one.client_id != other.client_id
    assert all(one.fields[name] is other.fields[name] for name in ("scopes", "client_name"))
    (key,), (other_key,) = one.keys, other.keys
    assert all(key.members[name] is other_key.members[name] for name in ("kty", "key_ops"))


def test_parts_of_values_that_differ_are_in_common_too():
    one, other = (
        share_values(json.loads(json.dumps({"conditions": [{"message": "Maskinporten issues tokens", "time": time}]})))
        for time in ("10:00", "11:00")
    )

    assert one["conditions"] != other["conditions"]
    assert one["conditions"][0]["message"] is other["conditions"][0]["message"]


def test_of_what_is_large_the_parts_are_in_common():
    one, other = (
        share_values(json.loads(json.dumps({"env": [{"name": "A", "value": text}] * 100}))) for text in ("x", "y")
    )

    assert one["env"][0] is one["env"][1]
    assert one["env"][0]["name"] is other["env"][0]["name"]


def test_nothing_large_is_kept_when_its_document_goes():
    tracemalloc.start()
    for number in range(50):
        share_values({"image": f"{number}" * 100_000, "env": [{"name": "A", "value": f"{number}" * 100_000}]})
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000


def test_what_is_nested_deeper_than_anything_reads_is_given_back():
    value = []
    for _ in range(5000):
        value = [value]

    assert share_values({"deep": value})["deep"] is value
