"""The page as text: what is chosen, how it is packed, that nothing breaks out of it, and that it is the same again."""

import base64
import gzip
import html
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import page_samples
import pytest
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report import page as page_package
from cpt_tasks.report.figures import PALETTE
from cpt_tasks.report.page import build_page, view
from cpt_tasks.report.page.blobs import safe_json
from cpt_tasks.report.page.budget import choose_texts, text_bytes
from cpt_tasks.report.page.build import vega_bundle
from cpt_tasks.report.page.samples import columns, level_order, miss, samples_of
from cpt_tasks.report.report import report_command

ASSETS = Path(page_package.__file__).parent / "assets"


def unpacked(page: str, number: int) -> dict[str, Any]:
    block = re.search(rf'<script type="text/plain" id="samples-{number}">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(block[1])))
    return content


@pytest.fixture(scope="module")
def page() -> str:
    summary = page_samples.summary()
    return build_page(summary, page_samples.samples(), {"beta": 0.95}, page_samples.sections(summary))


@pytest.mark.parametrize(
    ("level", "score", "expected"),
    [
        ("low", 40.0, 0.0),
        ("moderate", 40.0, -0.1),  # the edge belongs to the level below
        ("extremely_high", 90.0, -2.5),
        ("low", 41.5, 1.5),
        ("30", 45.0, 15.0),
        ("none", 45.0, math.nan),
    ],
)
def test_a_miss_is_the_distance_to_what_was_asked_for(level: str, score: float, expected: float) -> None:
    assert miss(level, score) == pytest.approx(expected, nan_ok=True)


def test_each_cell_keeps_as_many_texts_from_its_worst_to_its_best() -> None:
    frame = samples_of(page_samples.adherence("alpha")).frame
    cell = frame[:8]  # noir at level low; all texts but the first are of one length
    # 5, 17, 29 hit the band, 41 ... 89 miss it by 1 ... 49, so the worst first: 89 77 65 53 41 5 17 29
    one = text_bytes(cell)[1]
    for n_texts, scores in {1: [89], 2: [29, 89], 3: [29, 41, 89]}.items():
        assert list(cell["score"][choose_texts([cell], n_texts * one)[0]]) == scores
        assert list(cell["score"][choose_texts([cell], (n_texts + 1) * one - 1)[0]]) == scores
    [kept] = choose_texts([frame], 4000)
    assert len(set(frame.loc[kept].groupby(["rubric", "level"]).size())) == 1
    assert text_bytes(frame)[kept].sum() <= 4000
    assert choose_texts([frame, frame], 10**9) == [list(range(48))] * 2
    assert choose_texts([frame], 0) == [[]]


def test_levels_come_in_order_before_targets_before_words() -> None:
    levels = ["none", "90", "extremely_high", "10", "low", "9"]
    assert level_order(levels) == ["low", "extremely_high", "9", "10", "90", "none"]


def test_all_scores_are_kept_when_texts_are_left_out() -> None:
    frame = samples_of(page_samples.adherence("alpha")).frame
    content = columns(frame, [3, 5])
    assert content["score"] == list(frame["score"])
    assert [content["text"][3], content["text"][5], content["text"][4]] == [0, 1, -1]
    assert content["response"] == ["noir low response 3", "noir low response 5"]
    assert [content["user_prompt_names"][code] for code in content["user_prompt"]] == list(frame["user_prompt"][[3, 5]])


def test_no_text_can_end_its_data_block() -> None:
    hostile = f"{page_samples.HOSTILE} \u2028 \ud800"
    text = safe_json({"text": hostile})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"text": hostile}
    text.encode("utf-8")
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
    summary = page_samples.summary()
    assert build_page(summary, page_samples.samples(), {"beta": 0.95}, page_samples.sections(summary)) == page


def colours(number: int) -> dict[str, str]:
    """The light (0) or dark (1) palette of the page."""
    css = (ASSETS / "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", css)
    return {name: both[number] for name, *both in pairs}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of the relative luminances of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa_and_marks_that_of_graphics(number: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    palette = colours(number)
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "accent", "warn"):
            assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for mark in ("c1", "c2", "c3", "c4", "c5", "c6", "middle", "rule"):
        assert contrast(palette[mark], palette["paper"]) >= 3, mark


def test_charts_and_page_have_one_palette() -> None:
    light = colours(0)
    assert {name: light[name] for name in PALETTE} == PALETTE


def test_the_leaderboard_is_sorted_by_accuracy_with_undefined_last() -> None:
    rows = view.leaderboard(page_samples.summary(), {"beta": 0.95})
    assert [row.model for row in rows] == ["beta", "alpha", page_samples.MODELS[2]]
    assert [row.attainable for row in rows[:1]] == [0.95]
    assert view.number_and_interval(rows[0].cells["macro_accuracy"]) == ("0.90", "[0.85, 0.95]")
    assert view.number_and_interval(rows[2].cells["macro_accuracy"]) == ("undefined", "")
    assert view.finding(rows).startswith("The most accurate is beta: 0.90 of its scores lie in the band asked for")


def test_a_report_without_adherence_has_no_leaderboard_but_its_benchmarks() -> None:
    summary = page_samples.summary()
    del summary["tasks"]["rubric_adherence"]
    for model in summary["models"]:
        model["tasks"] = {"dose_response": model["tasks"]["dose_response"]}
    summary["tasks"] = {"dose_response": summary["tasks"]["dose_response"]}
    page = build_page(summary, page_samples.samples()[1:2], {}, page_samples.sections(summary))
    assert 'id="leaderboard"' not in page
    assert 'id="chart-dose_response"' in page


def test_the_report_of_real_logs_has_the_page_with_texts_and_reasons(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    reply = "The procession moved along the avenue </script> in good order while the authorities observed it all. " * 3
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=2)
    logs = tmp_path / "logs"
    inspect_eval(task, model=mock_model(lambda _: reply), log_dir=str(logs), display="none")
    done = CliRunner().invoke(report_command, [str(logs), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "report.html, opens in a browser without a network" in done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    content = unpacked(page, 0)
    assert content["response"] == [reply] * 6
    assert [name for name, _, _ in content["criteria"][0]] == ["excitement", "address", "brevity"]
    assert "2 user prompts: too few for an interval" in page
    command = (
        "inspect eval cpt_tasks/rubric_adherence --model mockllm/student -M custom_outputs=... -T rubrics=broadcast"
    )
    assert command in page


def test_without_the_extra_the_report_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    monkeypatch.setattr("cpt_tasks.report.report.can_draw", lambda: False)
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    inspect_eval(task, model=mock_model(lambda _: "a b " * 20), log_dir=str(tmp_path / "logs"), display="none")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("of another report")
    done = CliRunner().invoke(report_command, [str(tmp_path / "logs"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    for text in (done.output, (out / "report.md").read_text(encoding="utf-8")):
        assert "Figures and report.html were not made: they need the extra `report`" in text
    assert [path.suffix for path in out.iterdir() if path.suffix in (".html", ".png")] == []
