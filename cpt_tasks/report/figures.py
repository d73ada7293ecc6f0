"""What all charts share: colours, data that stays small, layers, and how a chart becomes a PNG or part of the page.

A chart is an altair chart, made once: `save_png` writes it beside report.md, `page_spec` gives the same chart to the
page. It needs the extra `report`; modules of charts are imported only where charts are drawn.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from altair.typing import ChartType

from rubrics import ScoreLevel
from rubrics.files import write_whole

MAX_ROWS = 5000  # of a chart's data, which stands in the page
# Okabe and Ito's palette, told apart with any colour vision; the two lightest darkened so that marks keep 3:1 on white.
# By the name that page.css has for them, which is another colour on a dark ground.
PALETTE = {"c1": "#0072b2", "c2": "#d55e00", "c3": "#00875f", "c4": "#b8578f", "c5": "#a87500", "c6": "#2b86bd"}
PALETTE |= {"ink": "#1b1b1f", "soft": "#54565c", "middle": "#6b6d75", "rule": "#8a8c92", "line": "#e4e2dc"}
PALETTE |= {"band": "#e3e1d8", "paper": "#ffffff"}
COLOURS = [PALETTE[name] for name in ("c1", "c2", "c3", "c4", "c5", "c6", "ink")]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
INK, SOFT, RULE, BAND, PAPER = (PALETTE[name] for name in ("ink", "soft", "rule", "band", "paper"))
LEVELS = [level.value.replace("_", " ") for level in ScoreLevel]
LEVEL_COLOURS = [PALETTE["c2"], PALETTE["middle"], PALETTE["c1"]]
INTERVAL = {"ci_low": "95% from", "ci_high": "to"}
SCORE_SCALE = alt.Scale(domain=[0, 100], nice=False)
SHARE_SCALE = alt.Scale(domain=[0, 1], nice=False)
PLAIN_AXIS = alt.Axis(domain=False, ticks=False, labelColor=INK)
LINES = alt.Axis(domain=False, ticks=False, labelColor=INK, labelAngle=0, labelExpr="split(datum.label, ' ')")
CONFIG = {
    "background": PAPER,
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": PALETTE["line"],
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 12,
        "labelLimit": 220,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "title": {"color": INK, "subtitleColor": SOFT, "anchor": "start", "fontSize": 15, "subtitleFontSize": 12},
    "header": {"labelColor": INK, "labelFontSize": 12, "labelAnchor": "start", "title": None},
    "legend": {
        "orient": "top",
        "labelColor": INK,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "labelLimit": 240,
        "symbolOpacity": 1,
    },
    "rule": {"color": RULE},
    "text": {"color": INK, "fontSize": 12},
    "range": {"category": COLOURS, "symbol": SHAPES},
}


def shown_name(name: object) -> str:
    """An id as charts write it."""
    return str(name).replace("_", " ")


def chart_data(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """The rows of the first models, rounded, as many models as have at most `MAX_ROWS` rows together.

    Rows stand in the order of their column `model`. `titled` says if models are left out.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if frame.empty:
        return frame
    sizes = frame.groupby("model", sort=False).size().cumsum()
    drawn = sizes.index[sizes <= MAX_ROWS]
    kept = frame[frame["model"].isin(drawn)].round(3)
    kept.attrs |= {"drawn": len(drawn), "models": len(sizes)}
    return kept


def titled(chart: ChartType, title: str, note: str, columns: Mapping[str, str], all_models: bool = False) -> ChartType:
    """A chart, with its data at the top, with what it shows and how to read it.

    The table beside it on the page has the `columns` of its data, by caption. With `all_models` the page draws all
    models, whichever were chosen for the charts.
    """
    counts = chart.data.attrs if isinstance(chart.data, pd.DataFrame) else {}
    if counts.get("drawn") != counts.get("models"):
        note += f" Drawn are the first {counts['drawn']} of {counts['models']} models."
    about = {"columns": [list(entry) for entry in columns.items()], "all_models": all_models, "note": note}
    return chart.properties(title=title, usermeta=about)


def model_colour() -> alt.Color:
    """Colour by model, in the order of the rows."""
    return alt.Color("model:N", sort=None, title=None)


def model_shape() -> alt.Shape:
    """Shape by model, in the order of the rows; the legend is that of the colours."""
    return alt.Shape("model:N", sort=None, legend=None)


def tips(columns: Mapping[str, str]) -> list[alt.Tooltip]:
    """A tooltip with these columns, by caption."""
    return [alt.Tooltip(f"{field}:N", title=caption) for field, caption in columns.items()]


def at(channel: Any, title: str, scale: Any = alt.Undefined) -> Callable[[str], Any]:
    """From a column to a channel (`alt.X`, `alt.Y`) of numbers with this title and scale."""
    return lambda field: channel(f"{field}:Q", title=title, scale=scale)


def curves(x: alt.X, y: str, title: str, scale: alt.Scale, tooltip: list[alt.Tooltip]) -> list[alt.Chart]:
    """Layers of a curve per model with the band of its 95% intervals; `y` is the column of values."""
    base, of = alt.Chart().encode(x=x, color=model_colour()), at(alt.Y, title, scale)
    return [
        base.mark_area(opacity=0.16).encode(y=of("ci_low"), y2="ci_high:Q"),
        base.mark_line(strokeWidth=2).encode(y=of(y)),
        base.mark_point(filled=True, size=55, opacity=1).encode(y=of(y), shape=model_shape(), tooltip=tooltip),
    ]


def intervals(base: alt.Chart, x: Callable[[str], Any], width: int = 4, size: int = 60) -> list[alt.Chart]:
    """Layers of estimates beside one another in the rows of `base`: the interval as a bar, the value as a mark."""
    return [
        base.mark_rule(strokeWidth=width, opacity=0.4).encode(x=x("ci_low"), x2="ci_high:Q"),
        base.mark_point(filled=True, size=size, opacity=1).encode(x=x("value")),
    ]


def row_layer(field: str, sort: Sequence[str] | None = None) -> alt.Chart:
    """A layer without mark that has a row per value of `field`, with the models beside one another in it."""
    return alt.Chart().encode(
        y=alt.Y(f"{field}:N", sort=sort, title=None, axis=PLAIN_AXIS, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("model:N", sort=None),
        color=model_colour(),
    )


def rows_height(rows: pd.DataFrame, field: str) -> int:
    """Pixels that a chart of `row_layer`s needs."""
    return int(rows[field].nunique() * max(24, 10 + 11 * min(len(COLOURS), rows["model"].nunique())))


def panels(chart: ChartType, field: str, columns: int, sort: Sequence[str] | None = None) -> ChartType:
    """The chart once for each value of a column, so many beside one another."""
    return chart.facet(alt.Facet(f"{field}:N", sort=sort, title=None), columns=columns)


def spec_of(chart: ChartType) -> dict[str, Any]:
    """The chart as a Vega-Lite specification with the shared look."""
    return {**chart.to_dict(), "config": CONFIG}


def save_png(chart: ChartType, out: Path, stem: str) -> str:
    """Writes a chart as PNG into `out` and returns its file name."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])  # as vl-convert names it
    write_whole(out / f"{stem}.png", vl_convert.vegalite_to_png(spec_of(chart), scale=1.3, vl_version=version))
    return f"{stem}.png"


def page_spec(chart: ChartType) -> dict[str, Any]:
    """The specification with colours as CSS variables, which a theme or a printer changes without drawing again.

    Title and note stand in `usermeta`, for the page writes them as text.
    """
    spec = spec_of(chart)
    data = spec.pop("datasets")
    spec["usermeta"]["title"] = spec.pop("title")
    names = {colour: name for name, colour in PALETTE.items()}
    text = re.sub('"(#[0-9a-f]{6})"', lambda colour: f'"var(--{names[colour[1]]})"', json.dumps(spec))
    return {**json.loads(text), "datasets": data}
