"""Draws the dashboard's panels without a Grafana, as a page: what each query gave over a time.

python -m tools.draw_dashboard http://127.0.0.1:9090 30 dashboard.html    # the last 30 minutes
"""

from __future__ import annotations

import html
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pygal
from pygal.style import CleanStyle

from tools.generate.dashboard import DASHBOARD, substitute

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTS = 120
PAGE = """<!doctype html><meta charset="utf-8"><title>Dashboard</title>
<style>body{font-family:sans-serif;margin:8px;display:grid;grid-template-columns:repeat(24,1fr);gap:8px}
section{border:1px solid #ccc;border-radius:4px;padding:4px}h1,h2{font-size:14px;margin:4px}h1{grid-column:span 24}
big{font-size:28px;padding:8px;display:block}svg{width:100%;height:auto}</style>
"""


def draw(url: str, start: float, end: float, **values: str) -> str:
    """Draw all panels from `start` to `end`, in seconds since 1970, by what the Prometheus at `url` says."""
    parts = [PAGE]
    with httpx.Client(base_url=f"{url}/api/v1/", trust_env=False) as http:
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
            if panel["type"] == "row":
                parts.append(f"<h1>{html.escape(panel['title'])}</h1>")
                continue
            series = dict(_read_series(http, panel, start, end, values))
            parts += [
                f'<section style="grid-column:span {panel["gridPos"]["w"]}"><h2>{html.escape(panel["title"])}</h2>'
            ]
            parts += [_draw_figure(series) if panel["type"] == "stat" else _draw_curves(panel, series), "</section>"]
    return "\n".join(parts)


def _read_series(
    http: httpx.Client, panel: Any, start: float, end: float, values: dict[str, str]
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    for target in panel["targets"]:
        step = max((end - start) / POINTS, 1)
        query: dict[str, str | float] = {
            "query": substitute(target["expr"], **values),
            "start": start,
            "end": end,
            "step": step,
        }
        found = http.get("query_range", params=query).raise_for_status().json()["data"]["result"]
        for one in found:
            legend = target.get("legendFormat", "")
            for label, value in one["metric"].items():
                legend = legend.replace(f"{{{{{label}}}}}", value)
            yield legend, [(moment - start, float(value)) for moment, value in one["values"] if value != "NaN"]


def _draw_figure(series: dict[str, list[tuple[float, float]]]) -> str:
    return "".join(f"<big>{points[-1][1]:.4g}</big>" for points in series.values() if points)


def _draw_curves(panel: Any, series: dict[str, list[tuple[float, float]]]) -> str:
    chart = pygal.XY(
        style=CleanStyle,
        width=800,
        height=320,
        js=(),
        dots_size=1,
        legend_at_bottom=True,
        range=(0, None),
        y_title=panel["fieldConfig"]["defaults"]["unit"],
        disable_xml_declaration=True,
        pretty_print=False,
    )
    for legend, points in sorted(series.items()):
        chart.add(legend, points)
    drawn: str = chart.render(is_unicode=True)
    return drawn


def main(url: str, minutes: str, target: str) -> None:
    """Draw the last minutes into a file."""
    now = time.time()
    Path(target).write_text(draw(url, now - 60 * float(minutes), now), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
