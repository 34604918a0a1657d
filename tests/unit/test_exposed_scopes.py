"""Exposed scopes: whose they are, what they should look like, and who may use them."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maskinporten_operator.model.maskinportenclient import ExposedScope
from maskinporten_operator.model.scopes import AccessList, RegisteredScope
from maskinporten_operator.model.status_hint import MAX_STATUS_SCOPES, StatusHint
from maskinporten_operator.plan.decisions import (
    CreateScope,
    DeactivateScope,
    GrantAccess,
    RevokeAccess,
    UpdateScope,
)
from maskinporten_operator.plan.exposed_scopes import (
    MAX_DESCRIPTION_LENGTH,
    READ_ONLY_FIELDS,
    Exposure,
    build_scope_description,
    build_scope_fields,
    build_scope_status,
    check_exposure,
    find_owner,
    judge_consumers,
    judge_withdrawn,
    plan_scopes,
    show,
)
from tests.specs import exposed
from tests.unit.fakes import DESCRIPTION as OWNERSHIP
from tests.unit.fakes import SETTINGS

CLUSTER = SETTINGS.cluster
SUBSCOPE = "arbeid:some.scope.read"
NAME = f"nav:{SUBSCOPE}"
OURS = f"{OWNERSHIP}.{SUBSCOPE}"
KOMMUNE, SKATT, UTLAND = "123456789", "974761076", "889640782"
ISSUER = "https://altinn.test/"
DEACTIVATING = replace(SETTINGS, withdrawn_scopes="Deactivate")
ALL_SETTINGS = (SETTINGS, DEACTIVATING)


def want(*consumers, **fields):
    return ExposedScope.model_validate(exposed(consumers=[{"orgno": one} for one in consumers], **fields))


def exposure(wanted=None, registered=None, access=None, **more):
    name = f"nav:{wanted.subscope}" if wanted else NAME
    return Exposure(name, wanted, registered, access, **more)


def scope(name=NAME, description=OURS, **fields):
    prefix, _, subscope = name.partition(":")
    members = {"name": name, "prefix": prefix, "subscope": subscope, "description": description, "active": True}
    return RegisteredScope(name, members | fields)


def as_wanted(wanted, *, issuer=None, **fields):
    """The scope at DigDir when nothing differs."""
    ours = build_scope_fields(exposure(wanted, issuer=issuer), "nav", OWNERSHIP)
    return scope(f"nav:{wanted.subscope}", **ours | fields)


def plan(*exposures, settings=SETTINGS):
    return plan_scopes(exposures, OWNERSHIP, settings)


def kinds(steps):
    return [type(step) for step in steps]


# Whose it is


def test_a_description_of_this_operator_names_the_owner():
    assert find_owner(scope(), CLUSTER) == OWNERSHIP


def test_a_description_of_digdirator_names_the_owner():
    assert find_owner(scope(description=f"arbeid - {OWNERSHIP}"), CLUSTER) == OWNERSHIP


@pytest.mark.parametrize("name", ["nav:arbeid/some/scope", "nav:arbeid.some.scope", "nav:arbeid:x"])
def test_digdirators_product_leads_the_subscope_before_any_separator(name):
    assert find_owner(scope(name, f"arbeid - {OWNERSHIP}"), CLUSTER) == OWNERSHIP


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Scope for some API",
        OWNERSHIP,
        f"{OWNERSHIP}.",
        f"{OWNERSHIP}.{SUBSCOPE}.",
        f" {OWNERSHIP}.{SUBSCOPE}",
        f"{OWNERSHIP}.{SUBSCOPE} ",
        f"{OWNERSHIP}.other.scope",
        f"{OWNERSHIP}.arbeid:some.scope.rea",
        f"{OWNERSHIP}.some.scope.read",
        f"{OWNERSHIP}:{SUBSCOPE}",
        f"x{OWNERSHIP}.{SUBSCOPE}",
        f"other-cluster:some-team:some-app.{SUBSCOPE}",
        f"some-cluster:some-app.{SUBSCOPE}",
        f"some-cluster:some-team:.{SUBSCOPE}",
        f"some-cluster::some-app.{SUBSCOPE}",
        f"some-cluster:some-team:some-app:more.{SUBSCOPE}",
        f"arbeid - {OWNERSHIP}.{SUBSCOPE}",
        f"arbei - {OWNERSHIP}",
        f"arbeid: - {OWNERSHIP}",
        f"helse - {OWNERSHIP}",
        f" - {OWNERSHIP}",
        f"arbeid -{OWNERSHIP}",
        f"arbeid - {OWNERSHIP} ",
        f"arbeid - arbeid - {OWNERSHIP}",
        "arbeid - other-cluster:some-team:some-app",
        "arbeid - some-cluster:some-app",
        f"arbeid:some.scope.read - {OWNERSHIP}",
        "arbeid - ",
    ],
)
def test_any_other_description_names_no_owner(description):
    assert find_owner(scope(description=description), CLUSTER) != OWNERSHIP


@pytest.mark.parametrize("description", [None, 5, ["x"], {"a": 1}])
def test_a_description_that_is_no_text_names_no_owner(description):
    assert find_owner(scope(description=description), CLUSTER) is None


def test_a_resource_never_owns_the_scopes_of_one_whose_name_begins_with_its_own():
    theirs = scope("nav:arbeid:x", "some-cluster:some-team:a.b.arbeid:x")

    assert find_owner(theirs, CLUSTER) == "some-cluster:some-team:a.b"


def test_a_subscope_with_dots_isnt_taken_for_a_part_of_the_name():
    theirs = scope("nav:b.arbeid.x", "some-cluster:some-team:a.b.arbeid.x")

    assert find_owner(theirs, CLUSTER) == "some-cluster:some-team:a"


def test_digdirators_mark_is_found_also_when_the_resources_name_ends_as_its_scope_is_called():
    theirs = scope("nav:arbeid.x", "arbeid - some-cluster:some-team:foo.arbeid.x")

    assert find_owner(theirs, CLUSTER) == "some-cluster:some-team:foo.arbeid.x"


def test_a_scope_that_doesnt_tell_its_subscope_is_known_by_its_name():
    assert find_owner(RegisteredScope(NAME, {"description": OURS}), CLUSTER) == OWNERSHIP


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?", fullmatch=True)
dotted = st.lists(labels, min_size=1, max_size=4).map(".".join)
marks = st.tuples(st.just(CLUSTER), labels, dotted).map(":".join)
words = st.sampled_from(["a", "b", "ab", "arbeid", "x"])
subscopes = st.tuples(words, st.sampled_from("/:."), st.lists(words, min_size=1, max_size=4).map(".".join)).map("".join)


@given(marks, subscopes)
def test_who_writes_a_description_is_who_owns_the_scope(ownership, subscope):
    assert find_owner(scope(f"nav:{subscope}", build_scope_description(ownership, subscope)), CLUSTER) == ownership


@given(marks, subscopes)
def test_who_digdirator_wrote_down_is_who_owns_the_scope(ownership, subscope):
    assume(not ownership.endswith(f".{subscope}"))  # see the test of such a name
    product = next(subscope[:place] for place, letter in enumerate(subscope) if letter in "/:.")

    assert find_owner(scope(f"nav:{subscope}", f"{product} - {ownership}"), CLUSTER) == ownership


@given(st.lists(words, min_size=3, max_size=7))
def test_however_dots_fall_between_name_and_subscope_exactly_one_mark_owns(parts):
    splits = [(".".join(parts[:place]), ".".join(parts[place:])) for place in range(1, len(parts) - 1)]
    description = f"{CLUSTER}:some-team:{'.'.join(parts)}"

    for name, subscope in splits:
        owner = find_owner(scope(f"nav:{subscope}", description), CLUSTER)
        claimants = {
            f"{CLUSTER}:some-team:{other}"
            for other, _ in splits
            if build_scope_description(f"{CLUSTER}:some-team:{other}", subscope) == description
        }
        assert claimants == {owner} == {f"{CLUSTER}:some-team:{name}"}


@given(st.text(max_size=60), subscopes)
def test_no_text_at_all_names_an_owner_of_another_form(description, subscope):
    owner = find_owner(scope(f"nav:{subscope}", description), CLUSTER)

    assert owner is None or (owner.startswith(f"{CLUSTER}:") and owner.count(":") == 2)


# Our fields


def test_a_new_scope_has_the_specs_values_and_the_mark_of_its_owner():
    wanted = want(
        atMaxAge=120, allowedIntegrations=["maskinporten", "krr"], accessibleForAll=True, visibility="private"
    )

    assert build_scope_fields(exposure(wanted), "nav", OWNERSHIP) == {
        "prefix": "nav",
        "subscope": SUBSCOPE,
        "description": OURS,
        "visibility": "PRIVATE",
        "allowed_integration_types": ["maskinporten", "krr"],
        "at_max_age": 120,
        "authorization_max_lifetime": 120,
        "accessible_for_all": True,
        "delegation_source": None,
        "active": True,
    }


def test_a_delegation_source_is_written_as_its_issuer():
    wanted = want(name="some/scope", delegationSource="altinn")

    assert build_scope_fields(exposure(wanted, issuer=ISSUER), "nav", OWNERSHIP)["delegation_source"] == ISSUER


# What is done


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_a_scope_that_isnt_there_is_created_and_its_consumers_granted_in_the_specs_order(settings):
    steps = plan(exposure(want(SKATT, KOMMUNE)), settings=settings)

    assert kinds(steps) == [CreateScope, GrantAccess, GrantAccess]
    assert steps[0].fields["description"] == OURS
    assert [step.orgno for step in steps[1:]] == [SKATT, KOMMUNE]


def test_what_isnt_set_is_left_out_of_a_new_scope():
    (create,) = plan(exposure(want()))

    assert "delegation_source" not in create.fields
    assert None not in create.fields.values()


def test_a_consumer_written_twice_is_granted_once():
    assert kinds(plan(exposure(want(SKATT, SKATT)))) == [CreateScope, GrantAccess]


def test_a_scope_as_it_should_be_is_left_alone():
    assert plan(exposure(want(SKATT), as_wanted(want()), AccessList(frozenset({SKATT})))) == []


def test_a_disabled_scope_that_isnt_there_isnt_made():
    assert plan(exposure(want(SKATT, enabled=False))) == []


def test_a_disabled_scope_is_deactivated_and_its_consumers_stay():
    wanted = want(enabled=False)

    (step,) = plan(exposure(wanted, as_wanted(want()), AccessList(frozenset({SKATT}))))

    assert step == DeactivateScope(NAME, "enabled is false")


def test_a_disabled_scope_that_is_inactive_is_left_alone_whatever_differs():
    old = as_wanted(want(), active=False, at_max_age=5, description=f"arbeid - {OWNERSHIP}")

    assert plan(exposure(want(KOMMUNE, enabled=False), old, AccessList(frozenset({SKATT}), frozenset({KOMMUNE})))) == []


def test_an_inactive_scope_is_activated_after_stale_consumers_are_revoked_and_before_new_ones_are_granted():
    steps = plan(
        exposure(want(SKATT, UTLAND), as_wanted(want(), active=False), AccessList(frozenset({KOMMUNE, SKATT})))
    )

    assert kinds(steps) == [RevokeAccess, UpdateScope, GrantAccess]
    assert (steps[0].orgno, steps[2].orgno) == (KOMMUNE, UTLAND)
    assert steps[1].activates
    assert steps[1].fields["active"] is True


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("description", f"arbeid - {OWNERSHIP}"),
        ("visibility", "PRIVATE"),
        ("allowed_integration_types", ["krr"]),
        ("allowed_integration_types", []),
        ("at_max_age", 31),
        ("at_max_age", None),
        ("authorization_max_lifetime", 0),
        ("accessible_for_all", True),
        ("delegation_source", ISSUER),
    ],
)
def test_each_of_our_members_is_compared_and_named_when_it_differs(member, value):
    (step,) = plan(exposure(want(), as_wanted(want(), **{member: value}), AccessList()))

    assert isinstance(step, UpdateScope)
    assert step.reason == f"{member} differ"
    assert not step.activates
    assert step.fields.get(member) == build_scope_fields(exposure(want()), "nav", OWNERSHIP)[member]


def test_the_integration_types_have_no_order():
    wanted = want(allowedIntegrations=["maskinporten", "krr"])
    read = as_wanted(wanted, allowed_integration_types=["krr", "maskinporten"])

    assert plan(exposure(wanted, read, AccessList())) == []


def test_integration_types_written_twice_are_no_drift_once_digdir_has_them_once():
    wanted = want(allowedIntegrations=["maskinporten", "maskinporten"])
    read = as_wanted(want())

    assert plan(exposure(wanted, read, AccessList())) == []


def test_an_update_is_the_scope_as_read_with_our_members_replaced_and_nothing_that_the_api_alone_sets():
    read = as_wanted(want(), at_max_age=5, token_type="OPAQUE", created="x", last_updated="y", new={"deep": [1]})

    (step,) = plan(exposure(want(), read, AccessList()))

    kept = {name: value for name, value in read.fields.items() if name not in READ_ONLY_FIELDS and value is not None}
    assert step.fields == kept | {"at_max_age": 30}
    assert step.fields["token_type"] == "OPAQUE"
    assert step.fields["new"] == {"deep": [1]}


def test_a_delegation_source_that_left_the_spec_is_left_out_of_the_update():
    (step,) = plan(exposure(want(), as_wanted(want(), delegation_source=ISSUER), AccessList()))

    assert "delegation_source" not in step.fields


def test_members_that_aren_t_ours_are_no_drift():
    read = as_wanted(want(), token_type="OPAQUE", requires_user_consent=True, long_description="theirs")

    assert plan(exposure(want(), read, AccessList())) == []


def test_an_active_scope_is_updated_after_stale_consumers_are_revoked_and_before_new_ones_are_granted():
    steps = plan(exposure(want(SKATT), as_wanted(want(), at_max_age=5), AccessList(frozenset({KOMMUNE}))))

    assert kinds(steps) == [RevokeAccess, UpdateScope, GrantAccess]
    assert not steps[1].activates


def test_consumers_that_left_the_spec_are_revoked_in_order_and_before_others_are_granted():
    steps = plan(exposure(want("999999999"), as_wanted(want()), AccessList(frozenset({UTLAND, KOMMUNE}))))

    assert steps == [RevokeAccess(NAME, KOMMUNE), RevokeAccess(NAME, UTLAND), GrantAccess(NAME, "999999999")]


def test_a_consumer_of_whom_it_isnt_known_is_written_again_either_way():
    access = AccessList(frozenset({SKATT}), unconfirmed=frozenset({SKATT, KOMMUNE}))

    assert plan(exposure(want(SKATT), as_wanted(want()), access)) == [
        RevokeAccess(NAME, KOMMUNE),
        GrantAccess(NAME, SKATT),
    ]


def test_a_refused_consumer_isnt_tried_again_and_doesnt_stop_the_others():
    access = AccessList(refused={KOMMUNE: "no"})

    assert plan(exposure(want(KOMMUNE, SKATT), as_wanted(want()), access)) == [GrantAccess(NAME, SKATT)]


# What left the spec


def test_a_withdrawn_scope_stays_as_it_is_by_default():
    assert plan(exposure(None, scope(), AccessList(frozenset({SKATT})))) == []


def test_a_withdrawn_scope_is_deactivated_where_the_cluster_says_so_and_its_consumers_stay():
    (step,) = plan(exposure(None, scope(), AccessList(frozenset({SKATT}))), settings=DEACTIVATING)

    assert step == DeactivateScope(NAME, "it isn't in the spec any more")


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_a_withdrawn_scope_that_is_inactive_is_left_alone(settings):
    assert plan(exposure(None, scope(active=False)), settings=settings) == []


@pytest.mark.parametrize("prefix", ["navy", "na", "other"])
@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=["Keep", "Deactivate"])
def test_a_withdrawn_scope_of_another_prefix_is_never_deactivated(settings, prefix):
    one = exposure(registered=scope())

    assert plan(one, settings=replace(settings, scope_prefix=prefix)) == []
    assert NAME in judge_withdrawn([one]).message


def test_a_withdrawn_scope_is_named_with_the_way_to_deactivate_it():
    verdict = judge_withdrawn([exposure(None, scope())])

    assert (verdict.type, verdict.status, verdict.reason) == ("ScopesDeclared", "False", "ScopesWithdrawn")
    assert NAME in verdict.message
    assert "enabled: false" in verdict.message


def test_nothing_is_said_of_scopes_in_the_spec_nor_of_inactive_ones():
    assert judge_withdrawn([exposure(want(), scope()), exposure(None, scope(active=False))]) is None


# Conflicts


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("description", ["made by hand", f"some-cluster:some-team:other-app.{SUBSCOPE}"])
@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_a_scope_that_isnt_ours_is_a_conflict_that_names_scope_owner_and_what_to_do(enabled, description, settings):
    theirs = exposure(want(SKATT, enabled=enabled), scope(description=description))

    error = check_exposure(theirs, OWNERSHIP, settings)

    assert plan(theirs, settings=settings) == []
    assert error.reason == "ScopeConflict"
    assert all(part in error.message for part in (NAME, description, OURS, "take it out of the spec"))


def test_of_two_that_expose_a_scope_that_isnt_there_the_younger_waits():
    young = exposure(want(), rival="other-team/older-app")

    error = check_exposure(young, OWNERSHIP, SETTINGS)

    assert plan(young) == []
    assert error.reason == "ScopeConflict"
    assert "other-team/older-app" in error.message
    assert NAME in error.message


def test_a_scope_that_is_ours_already_has_no_rival():
    assert (
        check_exposure(exposure(want(), as_wanted(want()), AccessList(), rival="other-team/x"), OWNERSHIP, SETTINGS)
        is None
    )


def test_a_disabled_scope_that_isnt_there_has_no_rival():
    assert check_exposure(exposure(want(enabled=False), rival="other-team/older-app"), OWNERSHIP, SETTINGS) is None


def test_a_delegation_source_that_digdir_doesnt_list_keeps_the_scope_from_being_exposed():
    unknown = exposure(want(SKATT, name="some/scope", delegationSource="altinn"))

    assert plan(unknown) == []
    assert check_exposure(unknown, OWNERSHIP, SETTINGS).reason == "DelegationSourceUnknown"
    assert "altinn" in check_exposure(unknown, OWNERSHIP, SETTINGS).message


def test_a_scope_is_deactivated_whatever_its_delegation_source():
    wanted = want(name="some/scope", delegationSource="altinn", enabled=False)

    assert kinds(plan(exposure(wanted, as_wanted(wanted, issuer=ISSUER), AccessList()))) == [DeactivateScope]


@pytest.mark.parametrize(
    ("length", "reason"), [(MAX_DESCRIPTION_LENGTH, None), (MAX_DESCRIPTION_LENGTH + 1, "InvalidSpec")]
)
def test_a_description_longer_than_digdir_takes_is_told_with_the_scopes_name(length, reason):
    wanted = want(name="a" * (length - len(f"{OWNERSHIP}.arbeid:")))

    error = check_exposure(exposure(wanted), OWNERSHIP, SETTINGS)

    assert (error.reason if error else None) == reason
    assert kinds(plan(exposure(wanted))) == ([] if reason else [CreateScope])
    assert reason is None or wanted.subscope in error.message


def test_a_scope_adopted_from_digdirator_is_deactivated_also_when_its_new_description_would_be_too_long():
    wanted = want(name="a" * 230, enabled=False)
    adopted = as_wanted(wanted, description=f"arbeid - {OWNERSHIP}")

    assert kinds(plan(exposure(wanted, adopted, AccessList()))) == [DeactivateScope]


def test_nothing_keeps_a_withdrawn_scope_from_being_judged():
    assert check_exposure(exposure(None, scope(description="made by hand")), OWNERSHIP, SETTINGS) is None


def test_one_conflict_doesnt_keep_the_other_scopes_from_being_exposed():
    theirs = exposure(want(), scope(description="made by hand"))

    assert kinds(plan(theirs, exposure(want(name="other")))) == [CreateScope]


# What is told


def test_without_consumers_nothing_is_said_of_them():
    assert judge_consumers([exposure(want()), exposure(None, scope(), AccessList(frozenset({SKATT})))]) is None


def test_consumers_that_digdir_took_are_told():
    verdict = judge_consumers([exposure(want(SKATT), as_wanted(want()), AccessList(frozenset({SKATT})))])

    assert (verdict.type, verdict.status) == ("ConsumersValid", "True")


def test_a_refused_consumer_is_named_with_the_scope_and_what_digdir_said():
    access = AccessList(frozenset({SKATT}), refused={KOMMUNE: "has a wrong check digit"})

    verdict = judge_consumers([exposure(want(SKATT, KOMMUNE), as_wanted(want()), access)])

    assert (verdict.status, verdict.reason) == ("False", "ConsumersRefused")
    assert all(part in verdict.message for part in (KOMMUNE, NAME, "has a wrong check digit"))
    assert SKATT not in verdict.message


@pytest.mark.parametrize("wanted", [want(SKATT), want(SKATT, KOMMUNE, enabled=False)], ids=["left", "disabled"])
def test_a_refused_consumer_that_nobody_wants_any_more_is_not_named(wanted):
    access = AccessList(frozenset({SKATT}), refused={KOMMUNE: "no"})

    assert judge_consumers([exposure(wanted, as_wanted(want()), access)]).status == "True"


def test_of_many_a_few_are_named_and_the_rest_counted():
    assert show([str(number) for number in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
    assert show([str(number) for number in range(5)]) == "0, 1, 2, 3, 4"


@pytest.mark.parametrize(
    ("one", "state", "consumers"),
    [
        (exposure(want()), "Absent", 0),
        (exposure(want(), as_wanted(want()), AccessList(frozenset({SKATT, UTLAND}))), "Active", 2),
        (exposure(want(enabled=False), as_wanted(want(), active=False), AccessList()), "Inactive", 0),
        (exposure(want(), scope(description="made by hand")), "Conflict", 0),
        (exposure(None, scope(), AccessList(frozenset({SKATT}))), "Withdrawn", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_status_tells_name_state_and_consumers_of_each_scope(one, state, consumers):
    assert build_scope_status([one], OWNERSHIP, SETTINGS) == [{"name": NAME, "state": state, "consumers": consumers}]


def test_a_status_tells_of_a_thousand_scopes_at_most_and_first_of_those_in_the_spec():
    wanted = [exposure(want(name=f"s{number}")) for number in range(3)]
    withdrawn = [Exposure(f"nav:w:{number}", None, scope(f"nav:w:{number}")) for number in range(1000)]

    status = build_scope_status([*wanted, *withdrawn], OWNERSHIP, SETTINGS)

    assert len(status) == MAX_STATUS_SCOPES == 1000
    assert [one["name"] for one in status[:4]] == [*(one.name for one in wanted), "nav:w:0"]


def test_of_a_status_a_thousand_names_are_believed_and_no_more():
    names = [f"nav:made.up.{number}" for number in range(1001)]

    assert StatusHint({"exposedScopes": [{"name": name} for name in names]}).scope_names == tuple(names[:1000])


def test_the_status_is_silent_about_a_withdrawn_scope_that_is_inactive():
    assert build_scope_status([exposure(None, scope(active=False))], OWNERSHIP, SETTINGS) == []


# Properties


class Digdir:
    """A small pure model of DigDir's scopes: what a PUT leaves out goes, and without `active` it deactivates."""

    def __init__(self, exposures):
        self.scopes = {one.name: dict(one.registered.fields) for one in exposures if one.registered}
        self.consumers = {one.name: set(one.access.consumers) if one.access else set() for one in exposures}
        self.exposed = []  # who could use an active scope, after each step

    def apply(self, steps):
        for step in steps:
            match step:
                case CreateScope(name, fields):
                    assert name not in self.scopes
                    assert None not in fields.values()
                    self.scopes[name] = {"name": name, "owner_orgno": UTLAND, "created": "now"} | dict(fields)
                case UpdateScope(name, fields):
                    assert not READ_ONLY_FIELDS & fields.keys()
                    assert None not in fields.values()
                    given = {one: self.scopes[name][one] for one in READ_ONLY_FIELDS if one in self.scopes[name]}
                    self.scopes[name] = given | {"active": False} | dict(fields)
                case DeactivateScope(name):
                    self.scopes[name]["active"] = False
                case GrantAccess(name, orgno):
                    assert name in self.scopes
                    self.consumers[name].add(orgno)
                case RevokeAccess(name, orgno):
                    self.consumers[name].discard(orgno)
            name = step.scope
            if self.scopes[name]["active"]:
                self.exposed.append((name, frozenset(self.consumers[name])))

    def look(self, exposures):
        return [
            replace(
                one,
                registered=RegisteredScope(one.name, self.scopes[one.name]) if one.name in self.scopes else None,
                access=AccessList(frozenset(self.consumers[one.name]), refused=one.access.refused if one.access else {})
                if one.name in self.scopes
                else None,
            )
            for one in exposures
        ]


orgnos = st.frozensets(st.sampled_from(["111111111", "222222222", "333333333", "444444444"]))
foreign = st.dictionaries(
    st.sampled_from(["token_type", "long_description", "requires_user_consent", "new"]),
    st.one_of(st.text(max_size=3), st.booleans(), st.lists(st.integers(), max_size=2)),
)


@st.composite
def wanteds(draw, name):
    has_source = draw(st.booleans())
    return want(
        *draw(st.lists(st.sampled_from(["111111111", "222222222", "333333333"]), max_size=4)),
        name=name,
        separator="/" if has_source else draw(st.sampled_from([None, ":", "/", "."])),
        enabled=draw(st.booleans()),
        atMaxAge=draw(st.sampled_from([30, 680])),
        allowedIntegrations=["maskinporten", *draw(st.sampled_from([[], ["krr"], ["krr", "idporten"]]))],
        accessibleForAll=draw(st.booleans()),
        visibility=draw(st.sampled_from(["public", "private"])),
        delegationSource="altinn" if has_source else None,
    )


@st.composite
def exposures_of_ours(draw, name="some.scope"):
    wanted = draw(wanteds(name))
    issuer = ISSUER if wanted.delegation_source else None
    if draw(st.booleans()):
        return exposure(wanted, issuer=issuer)
    description = draw(st.sampled_from([f"{OWNERSHIP}.{wanted.subscope}", f"arbeid - {OWNERSHIP}"]))
    ours = draw(
        st.fixed_dictionaries(
            {"active": st.booleans(), "at_max_age": st.sampled_from([0, 30, 680])},
            optional={
                "visibility": st.sampled_from(["PUBLIC", "PRIVATE"]),
                "delegation_source": st.just(ISSUER),
                "allowed_integration_types": st.sampled_from([[], ["maskinporten"], ["krr", "maskinporten"]]),
                "accessible_for_all": st.booleans(),
                "authorization_max_lifetime": st.sampled_from([0, 30]),
            },
        )
    )
    if draw(st.booleans()):  # nothing of it differs, but whether it is active
        ours = build_scope_fields(exposure(wanted, issuer=issuer), "nav", OWNERSHIP) | {"active": ours["active"]}
        ours = {member: value for member, value in ours.items() if value is not None}
        description = ours["description"]
    read_only = {"owner_orgno": UTLAND, "created": "then", "last_updated": "later"}
    members = read_only | ours | draw(foreign) | {"description": description}
    registered = scope(f"nav:{wanted.subscope}", **members)
    consumers, unconfirmed = draw(orgnos), draw(orgnos)
    refused = dict.fromkeys(draw(orgnos) - consumers - unconfirmed, "no")
    return exposure(wanted, registered, AccessList(consumers, unconfirmed, refused), issuer=issuer)


several = st.tuples(exposures_of_ours("one"), exposures_of_ours("two.three"), exposures_of_ours("four"))


def takers(one):
    """The consumers that DigDir takes."""
    refused = one.access.refused if one.access else {}
    return {consumer.orgno for consumer in one.wanted.consumers} - refused.keys()


@given(several)
def test_a_plan_that_is_carried_out_leaves_each_scope_as_the_spec_says(exposures):
    digdir = Digdir(exposures)
    digdir.apply(plan(*exposures))

    for one in exposures:
        left = digdir.scopes.get(one.name)
        assert bool(left and left["active"]) == one.wanted.enabled
        if one.wanted.enabled:
            fields = build_scope_fields(one, "nav", OWNERSHIP)
            assert {member: left.get(member) for member in fields} == fields | {
                "allowed_integration_types": left["allowed_integration_types"]
            }
            assert sorted(left["allowed_integration_types"]) == sorted(fields["allowed_integration_types"])
            assert digdir.consumers[one.name] == takers(one)


@given(several)
def test_members_that_arent_ours_survive_every_plan(exposures):
    digdir = Digdir(exposures)
    digdir.apply(plan(*exposures))

    for one in exposures:
        if one.registered:
            ours = build_scope_fields(one, "nav", OWNERSHIP).keys()
            theirs = {name: value for name, value in one.registered.fields.items() if name not in ours}
            assert theirs.items() <= digdir.scopes[one.name].items()


@given(several)
def test_a_second_plan_has_nothing_to_do(exposures):
    digdir = Digdir(exposures)
    digdir.apply(plan(*exposures))

    assert plan(*digdir.look(exposures)) == []


@given(several)
def test_there_is_at_most_one_write_for_each_difference(exposures):
    steps = plan(*exposures)

    for one in exposures:
        own = [step for step in steps if step.scope == one.name]
        on_scope = [step for step in own if not isinstance(step, GrantAccess | RevokeAccess)]
        on_access = [step.orgno for step in own if isinstance(step, GrantAccess | RevokeAccess)]
        assert len(on_scope) <= 1
        assert len(on_access) == len(set(on_access))
        if one.access:
            settled = (one.access.consumers & takers(one)) - one.access.unconfirmed
            assert not settled & set(on_access)


@given(several)
def test_a_scope_is_never_activated_with_a_consumer_who_lost_access(exposures):
    wanted = {one.name: {consumer.orgno for consumer in one.wanted.consumers} for one in exposures}
    was_active = {one.name for one in exposures if one.registered and one.registered.active}
    digdir = Digdir(exposures)
    digdir.apply(plan(*exposures))

    assert all(consumers <= wanted[name] for name, consumers in digdir.exposed if name not in was_active)


@given(several)
def test_the_access_of_a_disabled_scope_is_not_touched(exposures):
    steps = plan(*exposures)

    disabled = {one.name for one in exposures if not one.wanted.enabled}
    assert not [step for step in steps if step.scope in disabled and not isinstance(step, DeactivateScope)]


@given(exposures_of_ours(), st.text(max_size=40), st.sampled_from(["", " ", "x", "."]), st.sampled_from(ALL_SETTINGS))
def test_a_scope_whose_description_isnt_exactly_ours_is_in_no_step(one, text, end, settings):
    assume(one.registered)
    ours = one.registered.description
    for description in (text, ours + end, end + ours, ours[:-1], ours.replace("some-app", "other-app"), ours.upper()):
        if description in (f"{OWNERSHIP}.{one.wanted.subscope}", f"arbeid - {OWNERSHIP}"):
            continue
        theirs = RegisteredScope(one.name, {**one.registered.fields, "description": description})
        for access in (None, one.access):
            assert plan(replace(one, registered=theirs, access=access), settings=settings) == []


@given(several)
def test_the_status_says_after_the_plan_what_the_spec_says(exposures):
    digdir = Digdir(exposures)
    digdir.apply(plan(*exposures))

    for part, one in zip(build_scope_status(digdir.look(exposures), OWNERSHIP, SETTINGS), exposures, strict=True):
        assert part["name"] == one.name
        assert (part["state"] == "Active") == one.wanted.enabled
        assert part["state"] in ({"Active"} if one.wanted.enabled else {"Inactive", "Absent"})
