"""Bodies read within limits: what is beyond them is left out and named, and everything else is as it was sent."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.adapters.cluster.bodies import (
    cut_depth,
    is_deeper,
    read_at_most,
    read_event,
    read_lines,
    read_list,
    read_object,
)
from maskinporten_operator.adapters.cluster.pages import MAX_OBJECTS, MAX_PAGE_BYTES, PageSize

METADATA = {"name": "app", "uid": "some-uid"}
BODY = {"kind": "Some", "metadata": METADATA, "spec": {"a": [1, {"b": None}]}, "status": {}}
FIELDS = {"managedFields": [{"fieldsV1": {"f:spec": {}}}]}
ROTATE = "digdir.nais.io/rotate"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def encode(value):
    return json.dumps(value).encode()


def nest(levels):
    return b'{"a":[' * (levels // 2) + b"{}" * (levels % 2) + b"]}" * (levels // 2)


def spec_of(raw):
    return b'{"metadata":%b,"spec":%b,"status":{"a":1}}' % (encode(METADATA), raw)


def test_an_ordinary_body_is_as_it_was_sent_but_for_managed_fields():
    assert read_object(encode({**BODY, "metadata": {**METADATA, **FIELDS}})) == BODY


@pytest.mark.parametrize("levels", [33, 500, 2000, 9_000, 100_000])
def test_a_part_that_is_nested_too_deep_is_named_and_the_others_are_read(levels):
    assert read_object(spec_of(nest(levels))) == {
        "metadata": METADATA,
        "status": {"a": 1},
        "unreadable": "spec is nested more than 32 levels deep",
    }


def test_a_part_as_deep_as_may_be_is_read():
    assert "unreadable" not in read_object(spec_of(nest(32)))


@pytest.mark.parametrize(
    "raw", [encode("x" * 262_145), encode([{}] * 100_000), encode({str(number): 1 for number in range(60_000)})]
)
def test_a_part_that_is_too_large_is_named_and_the_others_are_read(raw):
    assert read_object(spec_of(raw)) == {
        "metadata": METADATA,
        "status": {"a": 1},
        "unreadable": "spec is larger than 256 KiB as JSON",
    }


def test_a_part_as_large_as_may_be_is_read():
    assert "unreadable" not in read_object(spec_of(encode("x" * 262_142)))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999"])
def test_a_value_that_cant_be_read_is_only_its_own_parts_fault(number):
    assert read_object(spec_of(b'{"a":%b}' % number))["unreadable"] == "spec has a value that can't be read"


def test_managed_fields_are_left_out_however_deep_and_large():
    fields = b'{"fieldsV1":%b},{"fieldsV1":%b}' % (nest(5_000), encode([{}] * 100_000))
    raw = b'{"metadata":{"managedFields":[%b],"name":"app","uid":"some-uid"},"spec":{}}' % fields

    assert read_object(raw) == {"metadata": METADATA, "spec": {}}


def test_annotations_are_read_whatever_their_size():
    annotations = {"others/note": "x" * 300_000, "digdir.nais.io/preserve": "true"}

    assert read_object(encode({"metadata": {"annotations": annotations}}))["metadata"]["annotations"] == annotations


def test_metadata_that_is_too_large_is_named():
    labels = {f"label-{number}": "" for number in range(30_000)}
    body = read_object(encode({"metadata": {**METADATA, "labels": labels}}))

    assert body == {"metadata": METADATA, "unreadable": "metadata.labels is larger than 256 KiB as JSON"}


def test_nobody_can_say_so_in_a_body():
    assert read_object(encode({**BODY, "unreadable": "something"})) == BODY


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"7", b'{"a":', b'{"metadata":[]}', b'{"a":' * 5000])
def test_what_is_no_json_object_is_an_error(data):
    with pytest.raises(json.JSONDecodeError, match="not what the API server sends"):
        read_object(data)


@pytest.mark.parametrize(
    "event", [{"type": "ADDED", "object": BODY}, {"type": "ERROR", "object": {"code": 410, "metadata": {}}}]
)
def test_an_event_is_read_with_its_object(event):
    assert read_event(encode(event)) == event


def test_one_odd_object_in_a_list_costs_only_itself():
    items = b",".join([encode(BODY), spec_of(nest(5_000)), encode(BODY)])
    page = read_list(b'{"metadata":{"continue":"c"},"items":[%b]}' % items)

    assert page["metadata"] == {"continue": "c"}
    assert [one.get("unreadable") for one in page["items"]] == [None, "spec is nested more than 32 levels deep", None]
    assert page["items"][0] == page["items"][2] == BODY


def test_an_empty_list_of_metadata_has_no_items():
    assert read_list(b'{"metadata":{},"items":null}')["items"] == []


# JSON that is cut


@given(json_values)
def test_what_isnt_deep_is_copied_as_it_is(value):
    assert json.loads(cut_depth(encode(value))) == value


@given(json_values, st.integers(1, 4))
def test_nothing_deeper_is_left(value, most):
    cut = json.loads(cut_depth(encode(value), most))

    assert not is_deeper(cut, most)
    assert is_deeper(value, most) or cut == value


def test_numbers_of_any_size_are_copied():
    raw = b"[100000000000000000000,1e400,0.1]"

    assert json.loads(cut_depth(raw), parse_float=Decimal) == [10**20, Decimal("1e400"), Decimal("0.1")]


# Answers


class Content:
    """What of an answer comes at a time."""

    def __init__(self, *chunks):
        self.chunks = chunks

    async def iter_chunked(self, _):
        for chunk in self.chunks:
            yield chunk


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\n", b"\nc"], [b"ab", b"c"]),
        ([b"x" * 300_000, b"\n"], [b"x" * 300_000]),
        ([], []),
    ],
)
async def test_lines_are_read_whatever_their_length(chunks, lines):
    assert [line async for line in read_lines(Content(*chunks))] == lines


async def test_an_answer_is_read_up_to_a_size():
    assert await read_at_most(Content(b"ab", b"cd"), 4) == b"abcd"
    assert await read_at_most(Content(b"ab", b"cde"), 4) is None


def test_pages_get_smaller_until_one_object_may_have_any_size():
    pages = PageSize()
    for _ in range(4):
        pages.shrink()

    assert (pages.limit, pages.max_bytes) == (1, float("inf"))


@given(st.integers(1, MAX_PAGE_BYTES))
def test_pages_grow_to_no_more_than_half_of_what_may_be(size):
    pages = PageSize()
    before = pages.limit
    pages.grow(size)

    assert pages.limit <= MAX_OBJECTS
    assert pages.limit == before or size / before * pages.limit <= MAX_PAGE_BYTES / 2


def managed(manager, *annotations):
    fields = {f"f:{one}": {} for one in annotations}
    return {"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": fields}}}


def read_managers(*entries, annotations):
    metadata = {"name": "app", "annotations": annotations, "managedFields": entries}
    return read_object(json.dumps({"metadata": metadata}).encode())["metadata"].get("rotationManagers")


def test_of_the_managed_fields_only_who_asks_for_a_new_key_is_kept():
    entries = (
        managed("kubectl", "other"),
        {"manager": "operator", "fieldsV1": {"f:spec": {}}},
        managed("flux", ROTATE),
    )

    assert read_managers(*entries, annotations={ROTATE: "true"}) == ["flux"]
    assert read_managers(*entries, annotations={"other": "true"}) is None


def test_of_many_who_ask_for_a_new_key_a_few_are_kept():
    entries = [managed(f"manager-{number}", ROTATE) for number in range(9)]

    assert len(read_managers(*entries, annotations={ROTATE: "true"})) == 3
