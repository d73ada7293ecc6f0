"""`cpt judge audit` and `cpt judge texts`, end to end on the seed responses and on files of rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails, read_rows, strict_json, succeeds, write_rows
from seed import ROOT, SEED_ROWS
from students import CALM, SHOUT, verdict

from cpt_tasks.judge_logs.commands import audit_command, texts_command
from cpt_tasks.judge_logs.texts import judged_row, read_texts, score_table
from judges import JudgeFailure, measure
from rubrics import load_rubric
from rubrics.load import rubric_yaml
from rubrics.pictures import load_picture

pytestmark = pytest.mark.usefixtures("in_own_folder")
WITH_CONTROLS = ROOT / "results" / "self_teacher" / "responses.jsonl"


@pytest.fixture
def broadcasts(tmp_path: Path) -> Path:
    """The seed responses of one rubric."""
    rows = [row for row in SEED_ROWS if row["rubric"] == "broadcast"]
    return write_rows(tmp_path / "broadcasts.jsonl", rows)


def test_the_audit_of_the_measured_judge_is_perfect(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    succeeds(audit_command, "--measured", "--repeats", 2, "--limit", 3, "--out", out)
    numbers = strict_json(out / "audit.json")
    assert (numbers["schema"], numbers["judge"], numbers["repeats"], len(numbers["texts"])) == (2, "measured", 2, 72)
    assert numbers["comparison"]["bias"]["all"] == {"value": 0, "ci_low": None, "ci_high": None}
    assert numbers["comparison"]["noise"]["attainable"] == 1
    page = (out / "audit.md").read_text(encoding="utf-8")
    assert "72 judgments of 36 texts, 0 unscored. Intervals" in page
    assert "data_gen/seed/responses.jsonl" in page and "(against_reference.png)" in page
    assert str(tmp_path) not in page + (out / "command.txt").read_text()
    assert (out / "against_reference.png").read_bytes()[:4] == b"\x89PNG"


def test_the_audit_of_a_biased_model_shows_its_bias_and_counts_what_it_did_not_judge(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, broadcasts: Path
) -> None:
    # a model that says 55 of the low and the moderate text to the first prompt, and nothing of the four others of two
    # prompts: no correlation hides a bias
    known = [row["response"] for row in read_rows(broadcasts)][:2]
    model = mock_model(lambda messages: verdict(55) if any(text in messages[-1].text for text in known) else "no")
    monkeypatch.setattr("cpt_tasks.judge_logs.texts.judge_model", lambda name: model)
    for _ in range(2):
        page = succeeds(audit_command, "--judge-model", "m/f", "--responses", broadcasts, "--limit", 2, "--repeats", 2)
        # each text twice, and three times each where there is no verdict; the second time all are in the store
        assert len(model.seen) == 2 * (2 + 4 * 3)
    numbers = strict_json(Path("results/audit/audit.json"))
    comparison, judged = numbers["comparison"], [text for text in numbers["texts"] if text["judged"] is not None]
    assert [(text["level"], text["judged"]) for text in judged] == [("low", 55)] * 2 + [("moderate", 55)] * 2
    bias = sum(55 - text["reference"] for text in judged) / 4
    assert comparison["bias"]["all"]["value"] == pytest.approx(bias)
    statistics = comparison["statistics"]
    assert (statistics["pearson"]["value"], statistics["order_accuracy"]["value"]) == (None, 0.5)
    assert "4 judgments of 6 texts, 8 unscored (malformed_json 8)" in page
    assert "jackknife of user prompts; 1 user prompt: too few for an interval" in page  # that has a judgment
    assert f"| all            | {bias:<14.1f} |" in page
    assert "| extremely_high | undefined      |" in page


@pytest.mark.slow
def test_an_audit_compares_wordings_of_the_question_on_the_same_texts(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, broadcasts: Path, tmp_path: Path
) -> None:
    # 55 for every text under version 2, 30 under version 3: moderate is right under the first, low under the second
    model = mock_model(lambda messages: verdict(55 if "Excellent 95" in messages[-1].text else 30), name="fake")
    monkeypatch.setattr("cpt_tasks.judge_logs.texts.judge_model", lambda name: model)
    write_rows(broadcasts, [*read_rows(broadcasts), {"rubric": "broadcast", "response": "\u3053\u308c" * 40}])
    page = succeeds(
        audit_command, "--judge-model", "m/f", "--responses", broadcasts, "--limit", 30, "--prompt-variants", "2,3"
    )
    assert len(model.seen) == 2 * 72  # the text in another script has no known score
    numbers = strict_json(Path("results/audit/audit.json"))
    assert (numbers["prompt_version"], numbers["skipped"], len(numbers["texts"])) == ("3", 1, 144)
    wordings = numbers["wordings"]
    assert wordings["n_texts"] == 72
    assert wordings["band_rate"]["low"] == {"2": 0, "3": 1} and wordings["half_range"]["low"] == 0.5
    assert wordings["half_range"]["all"] == 0 and "judge wording: \u00b10.00" in page  # the levels cancel out
    assert [entry["bias"]["value"] for entry in wordings["agreement"]][2] == pytest.approx(-25)
    high = [row for row in numbers["bands"]["3"] if row["band"] == "extremely_high"]
    assert [(row["rubric"], row["placed"]) for row in high] == [("all", 0), ("broadcast", 0)]
    assert (
        f"this judge places 0 of {high[0]['n']} texts known to be extremely high in that band: accuracy at that level "
        "can be at most 0.00 by this judge"
    ) in page
    assert "Not judged: 1 text under 15 English words" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--measured", "--prompt-variants", "2,3"), "the measured judge is asked nothing, expected one"),
        (("--judge-model", "m/f", "--prompt-variants", "1"), "prompt_version: got '1', expected one of 2, 3"),
        ((), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--judge-model", "mockllm/model"), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--responses", "nowhere.jsonl"), "'nowhere.jsonl' does not exist"),
        (("--judge-model", "m/f", "--responses", "warm.jsonl"), "criterion 'affection' has no measure"),
        (("--judge-model", "anthropic/claude-haiku-5-5"), "ANTHROPIC_API_KEY"),
    ],
)
def test_audits_that_cannot_be_are_refused_in_one_sentence(arguments: tuple[str, ...], message: str) -> None:
    write_rows(Path("warm.jsonl"), [{"rubric": "tone_warmth", "response": CALM}])
    assert message in fails(audit_command, *arguments)


def test_control_rows_of_a_committed_file_are_audited_and_judged(tmp_path: Path) -> None:
    output = succeeds(audit_command, "--measured", "--limit", 2, "--responses", WITH_CONTROLS, "--out", tmp_path)
    assert "| control " in output
    assert {text["writer"] for text in strict_json(tmp_path / "audit.json")["texts"]} == {"hf/smollm2-135m"}
    output = succeeds(texts_command, WITH_CONTROLS, "--out", tmp_path / "judged.jsonl")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if "|" in line]
    reverie = [cell for cell in cells if cell[0] == "reverie"]
    assert [cell[1] for cell in reverie] == ["low", "moderate", "extremely_high", "control"]
    assert reverie[3][-1] == "nan"  # a control is in no band


def test_texts_of_a_file_are_judged_as_they_would_be_in_a_benchmark(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "Describe a parade."}]
    rows = [
        {"rubric": "broadcast", "level": "low", "user_prompt": chat, "response": CALM, "step": 3},
        {"rubric": "broadcast", "level": "low", "response": f"\ud800 {SHOUT}"},
        {"rubric": "reverie", "response": "Too short.", "prompt": "Before version 0.2."},
    ]
    path = write_rows(tmp_path / "texts.jsonl", rows)
    assert [text.user_prompt for text in read_texts(path)] == ["Describe a parade.", "", "Before version 0.2."]
    output = succeeds(texts_command, path, "--out", tmp_path / "judged.jsonl")
    judged = read_rows(tmp_path / "judged.jsonl")
    rows[1]["response"] = f"\ufffd {SHOUT}"  # no file holds half a character
    assert [{name: row[name] for name in row if name in given} for row, given in zip(judged, rows, strict=True)] == rows
    broadcast = load_rubric("broadcast")
    assert [row["score"] for row in judged] == [measure(broadcast, CALM).score, measure(broadcast, SHOUT).score, 0]
    assert [row.get("in_band") for row in judged] == [True, False, None]
    assert [row["no_response"] for row in judged] == [False, False, True]
    [[_, level, *counts, mean, in_band]] = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("| broad")
    ]
    assert (level, counts, float(in_band)) == ("low", ["2", "0", "0"], 0.5)
    assert float(mean) == pytest.approx((judged[0]["score"] + judged[1]["score"]) / 2, abs=0.005)
    # rubrics of one's own, and messages in parts
    (tmp_path / "mine.yaml").write_text(rubric_yaml(broadcast.model_copy(update={"id": "mine"})))
    parts = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this."}]}]
    path = write_rows(tmp_path / "own.jsonl", [{"rubric": "mine", "user_prompt": parts, "response": CALM}])
    assert [text.user_prompt for text in read_texts(path, str(tmp_path / "mine.yaml"))] == ["Describe this."]
    succeeds(texts_command, path, "--rubrics", tmp_path / "mine.yaml", "--out", tmp_path / "own_judged.jsonl")
    assert read_rows(tmp_path / "own_judged.jsonl")[0]["score"] == judged[0]["score"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"rubric": "broadcast"', 't.jsonl:1: got \'{"rubric": "broadcast"\\n\', expected a JSON object in one line'),
        ('{"rubric": "broadcast"}', "t.jsonl:1: response: got None, expected a text"),
        ('{"rubric": "measured", "response": "x"}', "t.jsonl:1: rubric 'measured' not found"),
        ('{"rubric": "broadcast", "response": "x", "level": "high"}', "t.jsonl:1: level: got 'high', expected one of"),
        ('{"rubric": "broadcast", "response": "x", "prompt": [1]}', "t.jsonl:1: user_prompt: expected a text, or chat"),
        ('{"rubric": "picture_coverage", "response": "x"}', "t.jsonl:1: rubric 'picture_coverage': named_object_share"),
        ('{"rubric": "broadcast", "response": "x", "image": "cat"}', "t.jsonl:1: picture: got 'cat', expected one of"),
        ("", "t.jsonl: got no line"),
    ],
)
def test_a_line_that_cannot_be_judged_is_named_and_nothing_is_written(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(line + "\n", encoding="utf-8")
    assert message in fails(texts_command, tmp_path / "t.jsonl", "--out", tmp_path / "j.jsonl")
    assert not (tmp_path / "j.jsonl").exists()


def test_texts_about_pictures_are_judged_and_audited_by_what_is_in_them(tmp_path: Path) -> None:
    row = {"rubric": "picture_coverage", "image": "map_01.png", "response": CALM}
    told = f"{CALM} {', '.join(names[0] for names in load_picture('map_01.png').objects)}."
    path = write_rows(tmp_path / "t.jsonl", [row, row | {"response": told}])
    succeeds(texts_command, path, "--out", tmp_path / "j.jsonl")
    assert [row["score"] for row in read_rows(tmp_path / "j.jsonl")] == [0, 100]
    succeeds(audit_command, "--measured", "--responses", path, "--out", tmp_path)
    assert [text["reference"] for text in strict_json(tmp_path / "audit.json")["texts"]] == [0, 100]


def test_a_judge_that_fails_gives_a_text_no_number(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [{"rubric": "broadcast", "level": "low", "response": CALM}])
    row = judged_row(read_texts(path)[0], JudgeFailure("malformed_json", "no verdict"))
    assert (row["score"], row["in_band"], row["judge_failure"]) == (None, None, "malformed_json")
    assert score_table([row])[["n", "unscored"]].to_dict("list") == {"n": [1], "unscored": [1]}
