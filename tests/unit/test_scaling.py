"""How many pods an Application has, and who may change that."""

import pytest

from maskinporten_operator.model.application import ApplicationSpec, parse_application
from maskinporten_operator.model.resources import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET
from maskinporten_operator.plan.application_plan import SetReplicas, find_unsupported, plan_application
from maskinporten_operator.plan.children import ChildName
from maskinporten_operator.plan.platform import Platform
from tests.children import NAME, application_body, look, merge, settle

GENERIC, NAIS = Platform(), Platform(has_nais_defaults=True)
AUTOSCALER, BUDGET = ChildName(HORIZONTAL_POD_AUTOSCALER, NAME), ChildName(POD_DISRUPTION_BUDGET, NAME)
DEPLOYED = ChildName(DEPLOYMENT, NAME)
REQUESTED = {"resources": {"requests": {"cpu": "200m"}}}


def body_of(replicas, **spec):
    return application_body({"image": "example/app:1", "replicas": replicas, **REQUESTED, **spec})


def children_of(replicas, platform=GENERIC, **spec):
    return settle(body_of(replicas, **spec), platform, {})


def unsupported(replicas, platform=GENERIC, **spec):
    application = parse_application(body_of(replicas, **spec))
    assert isinstance(application.spec, ApplicationSpec), application.spec
    return find_unsupported(look(application, {}), platform)


@pytest.mark.parametrize(
    ("replicas", "platform", "between"),
    [
        ({"min": 2, "max": 6}, GENERIC, (2, 6)),
        ({"max": 6}, GENERIC, (2, 6)),
        ({"min": 1, "max": 2}, GENERIC, (1, 2)),
        ({}, GENERIC, None),
        ({"min": 3}, GENERIC, None),
        ({"min": 3, "max": 3}, GENERIC, None),
        ({"min": 3, "max": 2}, GENERIC, None),
        ({"min": 0, "max": 0}, NAIS, None),
        ({"min": 0, "max": 2}, GENERIC, None),
        ({"min": 2, "max": 6, "disableAutoScaling": True}, NAIS, None),
        ({"min": 2, "max": 6, "scalingStrategy": {}}, NAIS, None),
        ({}, NAIS, (2, 4)),
        ({"min": 3}, NAIS, (3, 4)),
        ({"min": 5}, NAIS, None),
    ],
)
def test_an_autoscaler_is_made_where_there_is_a_range(replicas, platform, between):
    autoscaler = children_of(replicas, platform).get(AUTOSCALER)
    limits = autoscaler and (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"])
    assert limits == between


@pytest.mark.parametrize(
    ("given", "percentage"),
    [
        ({}, 50),
        ({"cpuThresholdPercentage": 80}, 80),
        ({"cpuThresholdPercentage": 0}, 50),
        ({"scalingStrategy": {"cpu": {"thresholdPercentage": 70}}}, 70),
        ({"cpuThresholdPercentage": 80, "scalingStrategy": {"cpu": {"thresholdPercentage": 70}}}, 70),
    ],
)
def test_it_aims_at_a_share_of_the_requested_cpu(given, percentage):
    (metric,) = children_of({"max": 4, **given})[AUTOSCALER]["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percentage}}


def test_it_waits_as_long_as_the_strategy_says():
    strategy = {"cpu": {}, "scaleUpStabilizationWindowSeconds": 60, "scaleDownStabilizationWindowSeconds": 120}
    behavior = children_of({"max": 4, "scalingStrategy": strategy})[AUTOSCALER]["spec"]["behavior"]
    assert behavior == {
        "scaleUp": {"stabilizationWindowSeconds": 60},
        "scaleDown": {"stabilizationWindowSeconds": 120},
    }
    assert "behavior" not in children_of({"max": 4})[AUTOSCALER]["spec"]


@pytest.mark.parametrize(
    ("replicas", "platform", "has_budget"),
    [
        ({}, GENERIC, True),
        ({"min": 1}, GENERIC, False),
        ({"min": 1}, NAIS, False),
        ({"min": 1, "max": 1}, NAIS, False),
        ({"min": 0}, GENERIC, False),
        ({"min": 0, "max": 4}, GENERIC, True),
        ({"min": 2, "max": 4}, GENERIC, True),
    ],
)
def test_of_several_pods_an_eviction_takes_one_at_a_time(replicas, platform, has_budget):
    children = children_of(replicas, platform)
    assert (BUDGET in children) is has_budget
    if has_budget:
        assert children[BUDGET]["spec"]["maxUnavailable"] == 1


def number_after(before, after, scaled_to=None, platform=GENERIC, **spec):
    """The number of pods that a change of `replicas` sets, when there are `scaled_to` pods by some scaler."""
    objects = settle(body_of(before, **spec), platform, {})
    if scaled_to is not None:
        objects[DEPLOYED] = merge(objects[DEPLOYED], {"spec": {"replicas": scaled_to}})
    plan = plan_application(look(parse_application(body_of(after, **spec)), objects), platform)
    return next(((step.asked, step.count) for step in plan.steps if isinstance(step, SetReplicas)), None)


@pytest.mark.parametrize(
    ("before", "after", "scaled_to", "asked_and_set"),
    [
        ({"min": 2}, {"min": 5}, None, (5, 5)),
        ({"min": 5}, {"min": 2}, None, (2, 2)),
        ({"min": 2}, {"min": 2}, 8, None),
        ({"min": 2}, {"min": 3}, 8, (3, 8)),
        ({"min": 5}, {"min": 3}, 2, (3, 3)),
        ({"min": 2, "max": 9}, {"min": 5, "max": 9}, 3, (5, 5)),
        ({"min": 5, "max": 9}, {"min": 2, "max": 9}, 8, (2, 8)),
        ({"min": 5, "max": 9}, {"min": 2, "max": 9}, None, (2, 5)),
        ({"min": 2, "max": 9}, {"min": 0, "max": 0}, 8, (0, 0)),
        ({"min": 0, "max": 0}, {"min": 2, "max": 9}, None, (2, 2)),
        ({"min": 2, "max": 9}, {"min": 2, "max": 2}, 8, (2, 2)),
        ({"min": 2, "max": 9}, {"min": 2, "max": 9, "disableAutoScaling": True}, 8, None),
    ],
)
def test_an_edit_never_lowers_what_a_scaler_set_unless_the_spec_leaves_no_range(
    before, after, scaled_to, asked_and_set
):
    assert number_after(before, after, scaled_to) == asked_and_set


def test_a_range_that_was_closed_takes_the_autoscaler_away_after_the_number_was_set():
    objects = children_of({"min": 2, "max": 9})
    body = body_of({"min": 2, "max": 2})
    plan = plan_application(look(parse_application(body), objects), GENERIC)
    assert plan.steps[0] == SetReplicas(2, 2)
    assert AUTOSCALER not in settle(body, GENERIC, objects)


@pytest.mark.parametrize(
    ("replicas", "spec", "named"),
    [
        ({"min": 3, "max": 2}, {}, ["spec.replicas.max (less than min)"]),
        ({"min": 0, "max": 2}, {}, ["spec.replicas.max (nothing is scaled up from no pods: set min)"]),
        (
            {"max": 4},
            {"resources": {}},
            ["spec.replicas.max (the autoscaler needs resources.requests.cpu, which isn't set)"],
        ),
        ({"max": 4}, {"resources": {"limits": {"cpu": 1}}}, []),
        ({"max": 4}, {}, []),
        ({"max": 1, "disableAutoScaling": True}, {}, []),
        ({"min": 2, "max": 2}, {"resources": {}}, []),
    ],
)
def test_what_is_said_of_scaling_and_has_no_effect_is_named(replicas, spec, named):
    assert unsupported(replicas, **spec) == named


def test_scaling_by_kafka_is_named_and_nothing_scales_by_something_else_instead():
    kafka = {"kafka": {"topic": "t", "consumerGroup": "g", "threshold": 5}}
    application = parse_application(body_of({"max": 4, "scalingStrategy": kafka}))
    assert find_unsupported(look(application, {}), GENERIC) == ["spec.replicas.scalingStrategy.kafka"]
    assert AUTOSCALER not in children_of({"max": 4, "scalingStrategy": kafka})
