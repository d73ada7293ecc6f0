"""Charts hold the rows that the summary and the scores have, stay small, and are drawn by the library of the page."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import page_samples
import pandas as pd
import pytest

from cpt_tasks.benchmarks.rubric_adherence.charts import confusion, score_by_level
from cpt_tasks.report.figures import PALETTE, chart_data, page_spec, save_png, spec_of, titled
from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.report import SECTIONS, of_task, summarise
from cpt_tasks.report.section import MAX_ROWS

LOGS = Path(__file__).parents[2] / "results" / "smollm2-135m" / "logs"
CHARTS = {
    "rubric_adherence": {"levels_by_model", "score_by_level", "confusion", "accuracy_by_rubric", "side_effects"},
    "best_of_n": {"best_of_k_band_hit", "best_of_k_score"},
    "dose_response": {"dose_response", "dose_response_by_rubric"},
    "composition": {"composition", "composition_side_effects"},
    "paraphrase_robustness": {"paraphrases"},
    "drift": {"drift"},
}


def rows_of(spec: dict[str, Any]) -> pd.DataFrame:
    """The rows that a chart's marks, and the table beside it on the page, are made of."""
    return pd.DataFrame(spec["datasets"][spec["data"]["name"]])


@pytest.mark.parametrize("task", CHARTS)
def test_charts_of_the_committed_logs_are_drawn(task: str, tmp_path: Path) -> None:
    adherence = [str(LOGS / name) for name in ("base.eval", "cpt.eval")]
    runs = [read_run(path) for path in find_logs(adherence if task == "rubric_adherence" else [str(LOGS / task)])]
    models = of_task(summarise(runs), task)
    charts = SECTIONS[task].charts(models, runs)
    assert set(charts) == CHARTS[task]
    for stem, chart in charts.items():
        assert (tmp_path / save_png(chart, tmp_path, stem)).read_bytes()[:4] == b"\x89PNG"
        spec = page_spec(chart)
        rows = rows_of(spec)
        assert list(rows["model"].unique()) == list(models)
        assert {column for column, _ in spec["usermeta"]["columns"]} <= set(rows.columns)
        assert spec["usermeta"]["title"] and "title" not in spec


def test_commands_do_not_import_altair_before_they_draw() -> None:
    code = "import sys, cpt_tasks.cli, cpt_tasks._registry, cpt_tasks.report.report; sys.exit('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_scores_by_level_have_the_quartiles_and_where_few_every_response() -> None:
    rows = rows_of(spec_of(score_by_level([page_samples.adherence("alpha")])))
    [box] = rows[(rows["rubric"] == "noir") & (rows["level"] == "low") & rows["median"].notna()].to_dict("records")
    # 5 17 29 41 53 65 77 89: quarters between the second and third, and the sixth and seventh; three are at most 40
    expected = {"lowest": 5, "quarter": 26, "median": 47, "three": 68, "highest": 89, "inside": 0.375, "n": 8}
    assert {name: box[name] for name in expected} == expected
    assert len(rows) == 6 + 48
    many = [page_samples.adherence(f"model-{number}") for number in range(40)]
    assert len(rows_of(spec_of(score_by_level(many)))) == 40 * 6


def test_confusion_rows_sum_to_one() -> None:
    rows = rows_of(spec_of(confusion([page_samples.adherence("alpha")])))
    shares = rows.pivot_table(index="level", columns="judged", values="share")
    # 5, 17, 29 are low, 41 ... 89 moderate, nothing is extremely high, at every level asked for
    assert shares.loc["low"].to_dict() == {"low": 0.375, "moderate": 0.625, "extremely high": 0.0}
    assert list(shares.sum(axis=1)) == [1, 1, 1]


def test_only_whole_models_are_drawn_and_the_note_says_how_many_are_left_out() -> None:
    frame = pd.DataFrame({"model": np.repeat(["a", "b", "c"], 2000), "value": 1.0})
    data = chart_data(frame)
    assert (len(data), list(data["model"].unique())) == (4000, ["a", "b"])
    assert len(data) <= MAX_ROWS
    chart = titled(alt.Chart(data).mark_point().encode(x="value:Q"), "Values", "A note.", {"value": "value"})
    assert chart.to_dict()["usermeta"]["note"] == "A note. Drawn are the first 2 of 3 models."


def test_the_page_has_colours_as_variables_and_names_as_they_are() -> None:
    data = chart_data([{"model": PALETTE["c1"], "value": 1.0}])
    chart = alt.Chart(data).mark_point(color=PALETTE["c2"]).encode(x="value:Q")
    spec = page_spec(titled(chart, "Values", "", {"value": "value"}))
    assert spec["mark"]["color"] == "var(--c2)"
    assert rows_of(spec)["model"][0] == PALETTE["c1"]


def test_models_stand_in_the_order_of_the_runs() -> None:
    runs = [page_samples.adherence(name) for name in ("zeta", "alpha", "zeta-2", "beta")]
    for chart in (score_by_level(runs), confusion(runs)):
        assert list(rows_of(spec_of(chart))["model"].unique()) == ["zeta", "alpha", "zeta-2", "beta"]
