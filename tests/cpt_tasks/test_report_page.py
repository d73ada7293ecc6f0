"""The page as text: what is chosen, how it is packed, that nothing breaks out of it, and that it is the same again."""

import base64
import gzip
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import page_samples
import pytest
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval

from cpt_tasks import report_page
from cpt_tasks.report import report_command, summarise
from cpt_tasks.report_page import build_page, view, write_page
from cpt_tasks.report_page.blobs import blob, safe_json, score_columns, text_columns
from cpt_tasks.report_page.budget import choose_texts, spread
from cpt_tasks.report_page.charts import chart_rows
from cpt_tasks.report_page.libraries import vega_bundle
from cpt_tasks.report_page.records import RunRecords, level_order, records_of
from cpt_tasks.rubric_adherence import rubric_adherence
from cpt_tasks.runs import read_run


def data_block(page: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def unpacked(page: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(data_block(page, name))))
    return found


def test_spread_takes_the_ends_and_the_middle_first_and_everything_once() -> None:
    assert spread(1) == [0]
    assert spread(2) == [0, 1]
    assert spread(9)[:3] == [0, 4, 8]
    assert all(sorted(spread(n)) == list(range(n)) for n in range(40))


@pytest.mark.parametrize(
    ("level", "score", "miss"),
    [
        ("low", 40.0, 0.0),
        ("moderate", 40.0, -0.1),  # the edge belongs to the level below
        ("extremely_high", 90.0, -2.5),
        ("low", 41.5, 1.5),
        ("30", 45.0, 15.0),
        ("none", 45.0, None),
    ],
)
def test_a_miss_is_the_distance_to_what_was_asked_for(level: str, score: float, miss: float | None) -> None:
    assert page_samples.record("noir", level, 0, score).miss == miss


def test_levels_come_in_order_before_targets_before_words() -> None:
    assert level_order(["none", "90", "extremely_high", "10", "low", "9"]) == [
        "low",
        "extremely_high",
        "9",
        "10",
        "90",
        "none",
    ]


def test_each_cell_keeps_its_worst_median_and_best_first() -> None:
    run = page_samples.adherence("alpha")
    chosen = [choose_texts([run], budget)[0] for budget in range(0, 1500, 50)]
    for smaller, larger in zip(chosen, chosen[1:], strict=False):
        assert set(smaller) <= set(larger)
    for kept in chosen:
        by_cell = [sum((run.records[i].rubric, run.records[i].level) == cell for i in kept) for cell in cells(run)]
        assert max(by_cell) - min(by_cell) <= 1
    three = next(kept for kept in chosen if len(kept) >= 18)
    scores = [run.records[i].score for i in three if (run.records[i].rubric, run.records[i].level) == ("noir", "low")]
    # of 5, 17, 29 (in the band), 41, 53, 65, 77, 89 by distance: the worst 89, the fourth worst 53, the best 29
    assert {89, 53, 29} <= set(scores)


def cells(run: RunRecords) -> list[tuple[str, str]]:
    return list(dict.fromkeys((record.rubric, record.level) for record in run.records))


def test_a_budget_without_end_keeps_everything_and_one_of_nothing_nothing() -> None:
    run = page_samples.adherence("alpha")
    assert choose_texts([run, run], 10**9) == [list(range(48))] * 2
    assert choose_texts([run], 0) == [[]]


def test_all_scores_are_kept_when_texts_are_left_out() -> None:
    run = page_samples.adherence("alpha")
    columns = score_columns(run, [3, 5])
    assert columns["score"] == [record.score for record in run.records]
    assert [columns["text"][3], columns["text"][5], columns["text"][4]] == [0, 1, -1]
    assert text_columns(run, [3, 5])["response"] == [run.records[3].response, run.records[5].response]


def test_no_text_can_end_its_data_block() -> None:
    hostile = f"{page_samples.HOSTILE} \u2028 \ud800"
    text = safe_json({"text": hostile})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"text": hostile}
    text.encode("utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(float("nan"))


def test_hostile_text_stands_nowhere_as_markup() -> None:
    page = build_page(page_samples.summary(), page_samples.runs(), {"beta": 0.95})
    assert "<script>document.title" not in page
    assert "<img" not in page.replace(vega_bundle(), "")
    # index, two blobs for each of nine runs, Vega, and ours
    assert len(re.findall(r"<script\b", page)) == page.count("</script>") == 1 + 2 * 9 + 2
    assert unpacked(page, "texts-0")["response"][0] == page_samples.HOSTILE


def test_our_scripts_write_no_html_and_evaluate_nothing() -> None:
    for path in (Path(report_page.__file__).parent / "assets").glob("*.js"):
        script = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
            assert word not in script, f"{path.name} uses {word}"


def test_the_page_loads_nothing() -> None:
    page = build_page(page_samples.summary(), page_samples.runs(), {})
    policy = html.unescape(page[: page.index("<style>")])
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<(?:link|iframe|object|embed|base|img)\b", page.replace(vega_bundle(), ""))
    assert len(vega_bundle()) < 1_500_000


def colours(rule: str) -> dict[str, str]:
    css = (Path(report_page.__file__).parent / "assets" / "page.css").read_text(encoding="utf-8")
    block = css[css.index(rule) :]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block[: block.index("}")]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of the relative luminances of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("rule", [":root {", ':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {'])
def test_text_has_the_contrast_of_wcag_aa_and_marks_that_of_graphics(rule: str) -> None:
    palette = colours(rule)
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "accent", "warn"):
            assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for mark in ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "low", "moderate", "high", "rule"):
        assert contrast(palette[mark], palette["paper"]) >= 3, mark


def test_the_dark_palette_of_the_system_is_that_of_the_switch() -> None:
    assert colours(':root:not([data-theme="light"]) {') == colours(':root[data-theme="dark"] {')


def test_the_same_input_gives_the_same_bytes() -> None:
    pages = [build_page(page_samples.summary(), page_samples.runs(), {"beta": 0.95}) for _ in range(2)]
    assert pages[0] == pages[1]
    assert blob({"a": 1}) == blob({"a": 1})


def test_the_leaderboard_is_sorted_by_accuracy_with_undefined_last() -> None:
    rows = view.leaderboard(page_samples.summary(), {"beta": 0.95})
    assert [row.model for row in rows] == ["beta", "alpha", page_samples.MODELS[2]]
    assert rows[0].attainable is not None
    assert rows[0].cells["macro_accuracy"].interval == "0.85 to 0.95"
    assert rows[2].cells["macro_accuracy"].text == "undefined"
    assert view.finding(rows).startswith("The most accurate is beta: 0.90 of its scores lie in the band asked for")


def test_charts_without_data_are_not_on_the_page() -> None:
    summary = page_samples.summary()
    assert set(chart_rows(summary)) == {"levels", "rubrics", "best_of_k", "dose", "leakage", "wordings", "drift"}
    for model in summary["models"]:
        model["tasks"] = {}
        del model["leakage"]
    assert set(chart_rows(summary)) == {"levels", "rubrics"}
    page = build_page(summary, [page_samples.adherence(model) for model in page_samples.MODELS], {})
    assert 'id="chart-dose"' not in page
    assert 'id="benchmarks"' not in page


def test_a_report_without_adherence_has_no_leaderboard_but_its_benchmarks() -> None:
    summary = page_samples.summary()
    for model in summary["models"]:
        model |= {"metrics": {}, "by_rubric": {}, "by_level": {}, "n": 0}
    page = build_page(summary, [page_samples.dose("alpha")], {})
    assert 'id="leaderboard"' not in page
    assert 'id="chart-dose"' in page


def test_definitions_are_those_of_the_package() -> None:
    found = view.definitions(page_samples.summary())
    assert found["macro_accuracy"].startswith("Binned accuracy, 0-1: share of scores inside the band asked for")
    assert "length_rho" not in found


def test_the_report_of_real_logs_has_the_page_with_texts_and_reasons(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    reply = "The procession moved along the avenue </script> in good order while the authorities observed it all. " * 3
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=2)
    logs = tmp_path / "logs"
    [log] = inspect_eval(task, model=mock_model(lambda _: reply), log_dir=str(logs), display="none")
    done = CliRunner().invoke(report_command, [str(logs), "--out", str(tmp_path / "out"), "--resamples", "20"])
    assert done.exit_code == 0, done.output
    assert "report.html, opens in a browser without a network" in done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    texts = unpacked(page, "texts-0")
    assert texts["response"] == [reply] * 6
    assert [found[0] for found in texts["criteria"][0]] == ["excitement", "address", "brevity"]
    assert (
        "inspect eval cpt_tasks/rubric_adherence --model mockllm/student -M custom_outputs=... -T rubrics=broadcast"
        in page
    )
    run = read_run(log.location)
    assert [record.score for record in records_of(run).records] == [row.score for row in run.rows]
    again = write_page(summarise([run], 20, 0), [run], tmp_path)
    assert again.read_text(encoding="utf-8") == page


def test_without_the_extra_the_command_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    monkeypatch.setattr(report_page, "is_installed", lambda: False)
    monkeypatch.setattr("cpt_tasks.report_page.libraries.is_installed", lambda: False)
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    inspect_eval(task, model=mock_model(lambda _: "a b " * 20), log_dir=str(tmp_path / "logs"), display="none")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("of another report")
    command = [str(tmp_path / "logs"), "--out", str(tmp_path / "out"), "--resamples", "5"]
    done = CliRunner().invoke(report_command, command)
    assert done.exit_code == 0, done.output
    assert "report.html was not written: its charts need the extra `report`" in done.output
    assert not (tmp_path / "out" / "report.html").exists()
