"""The page as text: what is chosen and packed, that nothing breaks out of it; charts hold the rows that they show."""

import base64
import gzip
import html
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import page_samples
import pandas as pd
import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ModelConfig
from students import CALM, reported

from cpt_tasks.benchmarks.rubric_adherence.report import score_by_level
from cpt_tasks.report import page as page_package
from cpt_tasks.report.figures import chart_data, page_spec, save_png, spec_of, titled
from cpt_tasks.report.page.build import vega_bundle
from cpt_tasks.report.page.samples import columns, kept_texts, level_order, miss, safe_json, samples_of
from cpt_tasks.report.report import SECTIONS, of_task

ASSETS = Path(page_package.__file__).parent / "assets"
CHARTS = {
    "rubric_adherence": {"levels_by_model", "score_by_level"},
    "best_of_n": {"best_of_k_band_hit"},
    "dose_response": {"dose_response"},
    "composition": {"composition"},
    "paraphrase_robustness": {"paraphrases"},
    "drift": {"drift"},
}


def unpacked(page: str, number: int) -> dict[str, Any]:
    block = re.search(rf'<script type="text/plain" id="samples-{number}">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(block[1])))
    return content


@pytest.fixture(scope="module")
def page() -> str:
    return page_samples.page()


def test_a_miss_is_the_distance_to_what_was_asked_for() -> None:
    # the edge of a band belongs to the level below
    asked = {("low", 40.0): 0, ("moderate", 40.0): -0.1, ("extremely_high", 90.0): -2.5, ("low", 41.5): 1.5}
    asked |= {("30", 45.0): 15.0, ("none", 45.0): math.nan}
    assert {request: miss(*request) for request in asked} == pytest.approx(asked, nan_ok=True)


def test_each_cell_keeps_as_many_texts_from_its_worst_to_its_best() -> None:
    samples = samples_of(page_samples.adherence("alpha"))
    # in a cell 5, 17, 29 hit the band of low, 41 ... 89 miss it by 1 ... 49: worst first 89 77 65 53 41 5 17 29
    for most, scores in {6: [89], 17: [29, 89], 18: [29, 41, 89]}.items():
        kept = samples.loc[kept_texts(samples, most)]
        assert list(kept["score"][(kept["rubric"] == "noir") & (kept["level"] == "low")]) == scores
        assert set(kept.groupby(["rubric", "level"]).size()) == {len(scores)}
    assert [kept_texts(samples, most) for most in (0, 48)] == [[], list(range(48))]


def test_all_scores_are_kept_when_texts_are_left_out() -> None:
    samples = samples_of(page_samples.adherence("alpha"))
    content = columns(samples, [3, 5])
    assert content["score"] == list(samples["score"])
    assert [content["text"][3], content["text"][5], content["text"][4]] == [0, 1, -1]
    assert content["response"] == ["noir low response 3", "noir low response 5"]
    prompts = [content["user_prompt_names"][code] for code in content["user_prompt"]]
    assert prompts == list(samples["user_prompt"][[3, 5]])
    levels = ["none", "90", "extremely_high", "10", "low", "9"]
    assert level_order(levels) == ["low", "extremely_high", "9", "10", "90", "none"]


def test_no_text_can_end_its_data_block() -> None:
    hostile = f"{page_samples.HOSTILE} \u2028 \ud800"
    text = safe_json({"text": hostile})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text.encode("utf-8")) == {"text": hostile}
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(float("nan"))


def test_hostile_text_stands_nowhere_as_markup_and_the_page_loads_nothing(page: str) -> None:
    markup = page.replace(vega_bundle(), "")
    assert "<script>document.title" not in page
    # index, a blob for each of nine runs, Vega, and ours
    assert len(re.findall(r"<script\b", page)) == page.count("</script>") == 1 + 9 + 2
    assert unpacked(page, 0)["response"][0] == page_samples.HOSTILE
    policy = html.unescape(page[: page.index("<style>")])
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<(?:link|iframe|object|embed|base|img)\b", markup)
    for path in ASSETS.glob("*.js"):
        script = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
            assert word not in script, f"{path.name} uses {word}"


def test_the_same_input_gives_the_same_bytes(page: str) -> None:
    assert page_samples.page() == page


def test_a_report_without_adherence_has_no_leaderboard_but_its_benchmarks() -> None:
    page = page_samples.page("dose_response")
    assert 'id="leaderboard"' not in page
    assert 'id="chart-dose_response"' in page


def breaks_out(messages: list[Any]) -> str:
    return f"{CALM}</script> it said."


def test_the_report_of_real_logs_has_the_page_with_texts_and_reasons(
    log_of: Callable[..., str], tmp_path: Path
) -> None:
    out, path = tmp_path / "out", log_of("student", breaks_out, limit_per_cell=2)
    log = read_eval_log(path)
    log.eval.model_roles = {"grader": [ModelConfig(model="m/a"), ModelConfig(model="m/b")]}
    log.eval.config.limit = (2, 8)
    write_eval_log(log, path)
    _, _, printed = reported(out, path, draw=True)
    assert "report.html, opens in a browser without a network" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert str(Path(path).parent) not in page
    assert "Binned accuracy, 0-1: share of scores inside the band asked for" in page  # of the definitions
    content = unpacked(page, 0)
    assert content["response"] == [breaks_out([])] * 6
    assert [name for name, _, _ in content["criteria"][0]] == ["excitement", "address", "brevity"]
    assert "2 user prompts: too few for an interval" in page
    assert "inspect eval cpt_tasks/rubric_adherence --model mockllm/student -M custom_outputs=... -T rubrics=" in page
    assert " --model-role grader=m/a,m/b --limit 3-8" in page
    # without the extra it says what is missing, and leaves no page of another report
    _, report, printed = reported(out, path)
    for text in (printed, report):
        assert "Figures and report.html were not made: they need the extra `report`" in text
    assert not (out / "report.html").exists()


def rows_of(spec: dict[str, Any]) -> pd.DataFrame:
    """The rows that a chart's marks, and the table beside it on the page, are made of."""
    return pd.DataFrame(spec["datasets"][spec["data"]["name"]])


@pytest.mark.parametrize("task", CHARTS)
def test_every_benchmark_has_its_charts_as_png_and_for_the_page(task: str, tmp_path: Path) -> None:
    models = of_task(page_samples.summary(), task)
    charts = SECTIONS[task].charts(models, list(map(page_samples.adherence, models)))
    assert set(charts) == CHARTS[task]
    for stem, chart in charts.items():
        assert (tmp_path / save_png(chart, tmp_path, stem)).read_bytes()[:4] == b"\x89PNG"
        spec = page_spec(chart)
        rows = rows_of(spec)
        assert list(rows["model"].unique()) == list(models)
        assert {column for column, _ in spec["usermeta"]["columns"]} <= set(rows.columns)
        assert spec["usermeta"]["title"] and "title" not in spec


def test_scores_by_level_have_the_quartiles_and_where_few_every_response() -> None:
    rows = rows_of(spec_of(score_by_level([page_samples.adherence("alpha")])))
    [box] = rows[(rows["rubric"] == "noir") & (rows["level"] == "low") & rows["median"].notna()].to_dict("records")
    # 5 17 29 41 53 65 77 89: quarters between the second and third, and the sixth and seventh; three are at most 40
    expected = {"lowest": 5, "quarter": 26, "median": 47, "three": 68, "highest": 89, "inside": 0.375, "n": 8}
    assert {name: box[name] for name in expected} == expected
    assert len(rows) == 6 + 48
    many = [page_samples.adherence(f"model-{number}") for number in range(40, 0, -1)]
    rows = rows_of(spec_of(score_by_level(many)))
    assert len(rows) == 40 * 6
    assert list(rows["model"].unique()) == [run.name for run in many]


def test_only_whole_models_are_drawn_and_the_note_says_how_many_are_left_out() -> None:
    data = chart_data(pd.DataFrame({"model": np.repeat(["a", "b", "c"], 2000), "value": 1.0}))
    assert (len(data), list(data["model"].unique())) == (4000, ["a", "b"])
    chart = titled(alt.Chart(data).mark_point().encode(x="value:Q"), "Values", "A note.", {"value": "value"})
    assert chart.to_dict()["usermeta"]["note"] == "A note. Drawn are the first 2 of 3 models."
