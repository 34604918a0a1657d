"""The Grafana dashboard: is it well, what waits, who is slow, which keys age."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Literal

from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, ThresholdsConfig
from grafana_foundation_sdk.builders.dashboard import Row as DashboardRow
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatPanel
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)

from tools.generate.chart import CHART

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
DASHBOARD = CHART / "files" / "dashboard.json"
VARIABLES = {"namespace": ".+", "job": ".+", "__rate_interval": "1m"}
"""What stands in queries for what the reader chooses, and for a time that fits the picture."""
CHOSEN = 'namespace=~"$namespace",job=~"$job"'
"""Which operators, by the dashboard's variables."""
SECONDS, SHARE, PER_SECOND, COUNT = "s", "percentunit", "ops", "short"
DAY = 86_400.0
WIDTH = 24
"""How many columns Grafana has."""
Panel = StatPanel | TimeSeriesPanel


@dataclass(frozen=True)
class View:
    """A panel.

    Attributes:
        title: What it shows.
        about: How it is read.
        unit: Of its values, in Grafana's words.
        queries: What Prometheus is asked, by the legend of the answers.
        kind: One figure, or a curve over time.
        colours: Of a figure, from which value on.
    """

    title: str
    about: str
    unit: str
    queries: Mapping[str, str]
    kind: Literal["figure", "curve"] = "curve"
    colours: tuple[tuple[float | None, str], ...] = ((None, "blue"),)


def select(name: str, *matchers: str) -> str:
    """Select a metric of the chosen operators."""
    return f"maskinporten_operator_{name}{{{','.join((CHOSEN, *matchers))}}}"


def rate(name: str, *matchers: str) -> str:
    """Ask how much a second a counter grows."""
    return f"rate({select(name, *matchers)}[$__rate_interval])"


def quantile(share: float, histogram: str, label: str) -> str:
    """Ask below what a share of a histogram's values is, by a label."""
    return f"histogram_quantile({share}, sum by (le, {label}) ({rate(f'{histogram}_bucket')}))"


def states(*matchers: str) -> str:
    """Ask for resources by state; every replica tells the same, so they aren't added up."""
    return f"max by (kind, ready, reason) ({select('resources_by_state', *matchers)})"


TRUE, NOT_TRUE = 'ready="True"', 'ready!="True"'
FAILED = 'status=~"error|429|5.."'
EXPIRY = "admin_credential_expiry_timestamp_seconds"
ROWS: Mapping[str, tuple[View, ...]] = {
    "Is it well?": (
        View(
            "Leader",
            "1: one replica works. Anything else: none, or several say so.",
            COUNT,
            {"": f"sum({select('leader')})"},
            "figure",
            ((None, "red"), (1, "green"), (2, "red")),
        ),
        View(
            "Replicas not ready",
            "What /readyz says of each; it names what is waited for.",
            COUNT,
            {"": f"count({select('ready')}) - sum({select('ready')})"},
            "figure",
            ((None, "green"), (1, "red")),
        ),
        View(
            "Resources ready",
            "Of all resources, those with Ready=True.",
            SHARE,
            {"": f"sum({states(TRUE)}) / sum({states()})"},
            "figure",
            ((None, "red"), (0.9, "orange"), (0.99, "green")),
        ),
        View(
            "The operator's own credentials expire in",
            "Unknown, and so empty, of a JWK without exp.",
            SECONDS,
            {"": f"min({select(EXPIRY)}) - time()"},
            "figure",
            ((None, "red"), (7 * DAY, "orange"), (30 * DAY, "green")),
        ),
        View(
            "Resources that aren't ready",
            "By Ready's reason; docs/using.md says who can fix each.",
            COUNT,
            {"{{reason}} ({{ready}})": f"sum by (ready, reason) ({states(NOT_TRUE)})"},
        ),
        View(
            "Conditions beside Ready that are False",
            "By condition and reason.",
            COUNT,
            {
                "{{condition}}: {{reason}}": "sum by (condition, reason) (max by (kind, condition, reason) "
                f"({select('false_conditions')}))"
            },
        ),
        View(
            "Passes, by result",
            "By the reason that they end with.",
            PER_SECOND,
            {"{{result}}": f"sum by (result) ({rate('reconcile_total')})"},
        ),
        View(
            "Passes that go wrong",
            "Errors, and passes that are followed by another one.",
            PER_SECOND,
            {
                "errors": f"sum({rate('reconcile_errors_total')})",
                "to be repeated": f"sum({rate('retries_total')})",
            },
        ),
        View(
            "What the API server didn't take",
            "Statuses that were refused, and Events that were given up.",
            PER_SECOND,
            {
                "statuses of {{kind}}": f"sum by (kind) ({rate('statuses_refused_total')})",
                "Events": f"sum({rate('events_dropped_total')})",
            },
        ),
    ),
    "What waits?": (
        View(
            "Queue",
            "Resources that wait for a pass; it should be empty most of the time.",
            COUNT,
            {"waiting": f"sum({select('queue_depth')})", "known": f"max({select('resources')})"},
        ),
        View(
            "Workers",
            "Passes under way, of so many at once.",
            COUNT,
            {"under way": f"sum({select('active_workers')})", "at most": f"max({select('workers')})"},
        ),
        View(
            "How long resources wait for a pass",
            "Half of them less than the lower, 19 of 20 less than the upper.",
            SECONDS,
            {
                "{{kind}}, half": quantile(0.5, "queue_wait_seconds", "kind"),
                "{{kind}}, 19 of 20": quantile(0.95, "queue_wait_seconds", "kind"),
            },
        ),
        View(
            "Keys and tokens",
            "Keys minted ahead, passes that wait for one, and clients tried at Maskinporten.",
            COUNT,
            {
                "keys ready": f"sum({select('keys_ready')})",
                "passes that wait for a key": f"sum({select('keys_waited_for')})",
                "clients being tried": f"sum({select('credential_trials')})",
            },
        ),
    ),
    "Who is slow?": (
        View(
            "DigDir, by operation",
            "19 of 20 calls take less.",
            SECONDS,
            {"{{operation}}": quantile(0.95, "digdir_request_seconds", "operation")},
        ),
        View(
            "DigDir's answers",
            "Calls by HTTP status; error is no answer at all.",
            PER_SECOND,
            {"{{status}}": f"sum by (status) ({rate('digdir_request_seconds_count')})"},
        ),
        View(
            "Length of passes",
            "19 of 20 take less, and how long the oldest that is under way takes.",
            SECONDS,
            {
                "{{kind}}, 19 of 20": quantile(0.95, "reconcile_time_seconds", "kind"),
                "oldest under way": f"max({select('longest_running_pass_seconds')})",
            },
        ),
        View(
            "Requests for the operator's own token",
            "By HTTP status.",
            PER_SECOND,
            {"{{status}}": f"sum by (status) ({rate('token_requests_total')})"},
        ),
    ),
    "Which keys age?": (
        View(
            "The first key of a client expires in",
            "A key that is in use is registered again 30 days before that.",
            SECONDS,
            {"": f"min({select('registered_key_expiry_timestamp_seconds')}) - time()"},
            "figure",
            ((None, "red"), (25 * DAY, "orange"), (29 * DAY, "green")),
        ),
        View(
            "Keys of clients, by age",
            "Since they were made; KEY_MAX_AGE says when they are replaced.",
            COUNT,
            {"{{age}}": f"max by (age) ({select('registered_keys')})"},
        ),
        View(
            "The operator's own key and token",
            "How old they are; of the key with ADMIN_KEY_ROTATION only.",
            SECONDS,
            {
                "key": f"max({select('admin_key_age_seconds')})",
                "token": f"max({select('token_age_seconds')})",
            },
        ),
        View(
            "Renewal of the operator's own key",
            "1: something keeps it from being renewed.",
            COUNT,
            {"blocked": f"max({select('admin_key_renewal_blocked')})"},
        ),
        View(
            "Exposed scopes",
            "By the state that the statuses tell.",
            COUNT,
            {"{{state}}": f"max by (state) ({select('scopes')})"},
        ),
    ),
}


def substitute(query: str, **values: str) -> str:
    """Put values in the place of the dashboard's variables, as Grafana does."""
    return Template(query).substitute({**VARIABLES, **values})


def render_dashboard() -> str:
    """Render the dashboard as JSON for Grafana."""
    dashboard = (
        Dashboard("maskinporten-operator")
        .uid("maskinporten-operator")
        .description("Is it well, what waits, who is slow, which keys age?")
        .tags(["maskinporten-operator"])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_build_variable("namespace", "leader"))
        .with_variable(_build_variable("job", 'leader{namespace=~"$namespace"}'))
    )
    for title, views in ROWS.items():
        dashboard.with_row(DashboardRow(title))
        figures = sum(view.kind == "figure" for view in views)
        for view in views:
            panel = _build_figure(view, WIDTH // figures) if view.kind == "figure" else _build_curve()
            dashboard.with_panel(_fill(panel, view))
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"


def _build_variable(label: str, selected: str) -> QueryVariable:
    return (
        QueryVariable(label)
        .datasource(SOURCE)
        .query(f"label_values(maskinporten_operator_{selected}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(include_all=True)
        .all_value(".+")
        .current(VariableOption(selected=True, text="All", value="$__all"))
        .multi(multi=True)
    )


def _fill(panel: Panel, view: View) -> Panel:
    panel.title(view.title).description(view.about).unit(view.unit).datasource(SOURCE)
    for number, (legend, query) in enumerate(view.queries.items()):
        panel.with_target(Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + number)))
    return panel


def _build_figure(view: View, width: int) -> StatPanel:
    steps = [Threshold(value=value, color=colour) for value, colour in view.colours]
    panel = StatPanel().height(4).span(width)
    panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))


def _build_curve() -> TimeSeriesPanel:
    legend = (
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    return TimeSeriesPanel().height(8).span(12).min(0).fill_opacity(10).legend(legend)
