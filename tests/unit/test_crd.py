from typing import Annotated, Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, Field

from maskinporten_operator.model.maskinportenclient import SUBSCOPE_PATTERN
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT, MAX_NAME_LENGTH
from tests.cel import check_age
from tests.specs import MAX_EXPOSED
from tools.generate import __main__ as generate
from tools.generate.crds import (
    DEFINITIONS,
    PRESERVE,
    UnsupportedSchemaError,
    build_crd,
    build_structural_schema,
    render_crd,
)

CRD = build_crd(DEFINITIONS[MASKINPORTEN_CLIENT])
(VERSION,) = CRD["spec"]["versions"]
ROOT = VERSION["schema"]["openAPIV3Schema"]
SPEC = ROOT["properties"]["spec"]
STATUS = ROOT["properties"]["status"]
EXPOSES = SPEC["properties"]["scopes"]["properties"]["exposes"]


def nodes(schema, path="$"):
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def test_the_file_in_the_tree_is_as_generated():
    assert generate.find_stale(generate.ROOT) == []


@pytest.fixture
def empty_tree(tmp_path, monkeypatch):
    """A tree without a generated file, on a machine where Helm isn't built: what needs it is left out, and named."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "find_built", lambda _: None)
    return tmp_path


def test_a_file_that_differs_fails_the_check_which_says_what_to_run_and_writes_nothing(empty_tree):
    outcome = CliRunner().invoke(generate.main, ["--check"])

    assert outcome.exit_code == 1
    assert f"{', '.join(generate.OUTPUTS)}; run `make generate`" in outcome.output
    assert "deploy/crds/maskinportenclients.nais.io.yaml" in generate.OUTPUTS
    assert list(empty_tree.iterdir()) == []


def test_generating_writes_the_file_once(empty_tree):
    left_out, *written = CliRunner().invoke(generate.main, []).output.splitlines()
    assert "wrote deploy/crds/maskinportenclients.nais.io.yaml" in written
    assert written == [f"wrote {name}" for name in generate.OUTPUTS]
    assert CliRunner().invoke(generate.main, []).output.splitlines() == [left_out]
    assert CliRunner().invoke(generate.main, ["--check"]).exit_code == 0


@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_the_file_holds_the_whole_definition_without_yaml_references(kind):
    text = render_crd(kind)

    assert yaml.safe_load(text) == build_crd(DEFINITIONS[kind])
    assert "&id" not in text


def test_a_resource_without_a_status_is_one_that_nobody_has_looked_at():
    assert STATUS["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("schema", [SPEC, {**STATUS, "default": None}], ids=["spec", "status"])
def test_every_node_is_structural(schema):
    for path, node in nodes({name: value for name, value in schema.items() if value is not None}):
        assert isinstance(node["type"], str), path
        assert not {"$ref", "$defs", "anyOf", "title", "default", "const", "additionalProperties"} & set(node), path
        assert (node["type"] == "array") == ("items" in node), path
        assert (node["type"] == "object") == ("properties" in node), path


def test_every_field_is_described_and_every_list_says_how_it_is_merged():
    for path, node in [*nodes(SPEC), *nodes(STATUS)]:
        if not path.endswith("[]"):
            assert node.get("description"), path
        if node["type"] == "array":
            assert node["x-kubernetes-list-type"] in {"map", "atomic"}, path


def test_everything_that_a_user_writes_has_a_bound():
    for path, node in nodes(SPEC):
        match node["type"]:
            case "string":
                assert "maxLength" in node or "enum" in node, path
            case "array":
                assert "maxItems" in node, path
            case "integer":
                assert {"minimum", "maximum"} <= set(node), path


def test_conditions_are_told_apart_by_their_type():
    assert STATUS["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_scopes_are_applied_as_a_whole():
    for scopes in SPEC["properties"]["scopes"]["properties"].values():
        assert scopes["x-kubernetes-list-type"] == "atomic"


def test_times_and_generations_have_their_formats():
    condition = STATUS["properties"]["conditions"]["items"]["properties"]

    assert condition["lastTransitionTime"]["format"] == "date-time"
    assert condition["observedGeneration"]["format"] == "int64"
    assert STATUS["properties"]["synchronizationTime"]["format"] == "date-time"
    assert STATUS["properties"]["observedGeneration"]["format"] == "int64"


def test_the_constraints_of_the_model_are_in_the_schema():
    scope = EXPOSES["items"]["properties"]

    assert EXPOSES["maxItems"] == MAX_EXPOSED
    assert EXPOSES["items"]["required"] == ["name", "product", "enabled"]
    assert scope["name"]["pattern"] == SUBSCOPE_PATTERN
    assert scope["separator"]["enum"] == ["/", ":", "."]
    assert scope["delegationSource"] == {
        "description": scope["delegationSource"]["description"],
        "type": "string",
        "enum": ["altinn"],
    }
    assert (scope["atMaxAge"]["minimum"], scope["atMaxAge"]["maximum"]) == (30, 680)
    assert (scope["allowedIntegrations"]["minItems"], scope["allowedIntegrations"]["maxItems"]) == (1, 10)


def test_the_rule_for_the_name_is_at_the_root_where_cel_sees_it():
    assert ROOT["x-kubernetes-validations"] == [
        {
            "rule": f"oldSelf.hasValue() || (self.metadata.name.size() <= {MAX_NAME_LENGTH})",
            "message": "must have at most 63 characters",
            "optionalOldSelf": True,
        }
    ]


def test_every_rule_in_cel_has_a_message():
    rules = EXPOSES["items"]["x-kubernetes-validations"]

    assert len(rules) == 4
    assert all(rule["message"] for rule in rules)


def test_no_rule_in_cel_calls_what_older_api_servers_lack():
    found = [rule for definition in DEFINITIONS.values() for rule in find_rules(build_crd(definition))]

    assert len(found) == 12
    check_age(found)


def find_rules(node):
    if isinstance(node, dict):
        yield from (one["rule"] for one in node.get("x-kubernetes-validations", ()))
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from find_rules(child)


def test_without_a_spec_there_is_no_resource_so_that_a_late_apply_of_finalizers_makes_none():
    assert ROOT["required"] == ["spec"]


def test_the_columns_are_those_that_users_look_for():
    assert [column["name"] for column in VERSION["additionalPrinterColumns"]] == [
        "Secret",
        "Client ID",
        "Ready",
        "Reason",
        "Age",
    ]


def test_the_status_is_a_subresource():
    assert VERSION["subresources"] == {"status": {}}


class Either(BaseModel):
    field: int | str


class Anything(BaseModel):
    field: Any


class Table(BaseModel):
    field: dict[str, Any]


class Divisible(BaseModel):
    field: Annotated[int, Field(multiple_of=3)]


@pytest.mark.parametrize("model", [Either, Anything, Table, Divisible])
def test_what_the_generator_does_not_know_is_refused_and_not_left_out(model):
    with pytest.raises(UnsupportedSchemaError, match=rf"{model.__name__}\.field"):
        build_structural_schema(model)


class Labels(BaseModel):
    field: dict[str, str]


def test_a_table_says_what_its_values_are():
    assert build_structural_schema(Labels)["properties"]["field"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }


class Inner(BaseModel):
    field: str


class Outer(BaseModel):
    inner: Inner
    many: list[Inner]
    table: dict[str, str]


def test_an_open_schema_keeps_unknown_fields_at_every_level_but_in_tables():
    schema = build_structural_schema(Outer, is_open=True)
    inner, many, table = (schema["properties"][name] for name in ("inner", "many", "table"))

    assert [PRESERVE in node for node in (schema, inner, many["items"], many, table)] == [True] * 3 + [False] * 2
    assert PRESERVE not in str(build_structural_schema(Outer))


def test_only_an_applications_spec_is_open():
    for kind, definition in DEFINITIONS.items():
        (version,) = build_crd(definition)["spec"]["versions"]
        fields = version["schema"]["openAPIV3Schema"]["properties"]

        assert (PRESERVE in str(fields["spec"])) == (kind == APPLICATION)
        assert PRESERVE not in str(fields["status"])
