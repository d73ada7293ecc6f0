"""`cpt judge audit` and `cpt judge texts`, end to end on the seed responses and on files of rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from cpt_tasks.judge_logs.commands import audit_command, texts_command
from cpt_tasks.judge_logs.compare import write_audit
from cpt_tasks.judge_logs.texts import first_prompts, judge_texts, judged_row, read_texts, score_table
from judges import JudgeFailure, Judgment, measure
from rubrics import Rubric, load_rubric

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
WITH_CONTROLS = ROOT / "results" / "self_teacher" / "responses.jsonl"
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def verdict(score: float) -> str:
    criteria = [{"id": name, "reason": "r", "score": score} for name in ("excitement", "address", "brevity")]
    return json.dumps({"criteria": criteria, "holistic_score": score})


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the default call store lies in the working folder


def test_the_audit_of_the_measured_judge_is_perfect(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    done = run(audit_command, "--measured", "--repeats", 2, "--limit", 3, "--out", out)
    assert done.exit_code == 0, done.output
    numbers = strict_json(out / "audit.json")
    comparison = numbers["comparison"]
    assert (numbers["schema"], numbers["judge"], numbers["repeats"], len(numbers["texts"])) == (2, "measured", 2, 72)
    assert comparison["statistics"]["mae"]["value"] == 0
    assert comparison["bias"]["all"] == {"value": 0, "ci_low": None, "ci_high": None}
    assert (comparison["noise"]["sd"], comparison["noise"]["attainable"]) == (0, 1)
    page = (out / "audit.md").read_text(encoding="utf-8")
    assert "72 judgments of 36 texts, 0 unscored. Intervals" in page
    assert "data_gen/seed/responses.jsonl" in page
    assert str(tmp_path) not in page + (out / "command.txt").read_text()
    for figure in ("against_reference.png", "bias.png"):
        assert (out / figure).read_bytes()[:4] == b"\x89PNG"
        assert f"({figure})" in page


def test_the_audit_of_a_biased_model_shows_its_bias(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a model that always says 55: no bias is hidden by a correlation
    model = mock_model(lambda _: verdict(55), name="fake")
    monkeypatch.setattr("cpt_tasks.judge_logs.texts.judge_model", lambda name: model)
    arguments = ("--rubrics", "broadcast", "--limit", 2, "--repeats", 2, "--store", tmp_path / "calls.jsonl")
    for _ in range(2):
        done = run(audit_command, "--judge-model", "mockllm/fake", *arguments, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert len(model.seen) == 12  # every repeat is a call of its own; the second time all are in the store
    numbers = strict_json(tmp_path / "out" / "audit.json")
    texts, comparison = numbers["texts"], numbers["comparison"]
    assert [text["judged"] for text in texts] == [55] * 12
    assert comparison["bias"]["all"]["value"] == pytest.approx(sum(55 - text["reference"] for text in texts) / 12)
    statistics = comparison["statistics"]
    assert (statistics["pearson"]["value"], statistics["order_accuracy"]["value"]) == (None, 0.5)


class Moody:
    """Refuses the texts of one level and adds 7 to the others."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        score = measure(rubric, response).score
        if score > 92.5:
            raise JudgeFailure("refusal", "no")
        return Judgment(score=score + 7, judge="moody", prompt_version="9", rubric_hash=rubric.hash)


def test_an_audit_counts_refusals_and_shows_the_bias_put_in(tmp_path: Path) -> None:
    texts = read_texts(SEED_FILE, [load_rubric("broadcast"), load_rubric("reverie")])
    texts = [text for text in first_prompts(texts, 5) if text.rubric.id == "broadcast"]
    assert len(texts) == 15  # all three levels of each prompt
    page = write_audit(tmp_path, texts, anyio.run(judge_texts, texts, [Moody()]), "moody", "seed")
    assert "10 judgments of 15 texts, 5 unscored (refusal 5)" in page
    assert "jackknife of user prompts; 5 user prompts: too few for an interval" in page
    assert "| all            | 7.0            |" in page
    assert "| extremely_high | undefined      |" in page
    assert strict_json(tmp_path / "audit.json")["prompt_version"] == "9"


def test_a_judge_that_never_answers_is_an_error_and_no_number(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mock_model(lambda _: "no", stop_reason="content_filter")
    monkeypatch.setattr("cpt_tasks.judge_logs.texts.judge_model", lambda name: model)
    done = run(audit_command, "--judge-model", "mockllm/fake", "--rubrics", "broadcast", "--limit", 1)
    assert done.exit_code == 1
    assert "no judgment of 3 texts (refusal 3), expected at least one" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--judge-model", "mockllm/model"), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--rubrics", "nonsense"), "rubric 'nonsense' not found"),
        (("--measured", "--rubrics", "tone_warmth"), "criterion 'affection' has no measure"),
        (("--measured", "--responses", "nowhere.jsonl"), "nowhere.jsonl: no such file, expected JSON lines"),
        (("--measured", "--responses", "one.jsonl"), "one.jsonl: no text of rubric 'broadcast', expected at least one"),
        (("--judge-model", "anthropic/claude-haiku-5-5"), "ANTHROPIC_API_KEY"),
    ],
)
def test_audits_that_cannot_be_are_refused_in_one_sentence(arguments: tuple[str, ...], message: str) -> None:
    write_lines(Path("one.jsonl"), {"rubric": "reverie", "response": CALM})
    done = run(audit_command, *arguments)
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output


def test_control_rows_of_a_committed_file_are_audited_and_judged(tmp_path: Path) -> None:
    done = run(audit_command, "--measured", "--rubrics", "reverie", "--responses", WITH_CONTROLS, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "204 judgments of 204 texts" in done.output  # 51 of each level, and as many controls
    assert {text["writer"] for text in strict_json(tmp_path / "audit.json")["texts"]} == {"hf/smollm2-135m"}
    done = run(texts_command, WITH_CONTROLS, "--out", tmp_path / "judged.jsonl")
    assert done.exit_code == 0, done.output
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.output.splitlines() if "|" in line]
    reverie = [cell for cell in cells if cell[0] == "reverie"]
    assert [cell[1] for cell in reverie] == ["low", "moderate", "extremely_high", "control"]
    assert reverie[3][-1] == "nan"  # a control is in no band


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8", "surrogatepass").split("\n") if line]


def test_texts_of_a_file_are_judged_as_they_would_be_in_a_benchmark(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "Describe a parade."}]
    rows = [
        {"rubric": "broadcast", "level": "low", "user_prompt": chat, "response": CALM, "step": 3},
        {"rubric": "broadcast", "level": "low", "response": f"\ud800 {SHOUT}"},
        {"rubric": "reverie", "response": "Too short.", "prompt": "Before version 0.2."},
    ]
    path = write_lines(tmp_path / "texts.jsonl", *rows)
    assert [text.user_prompt for text in read_texts(path)] == ["Describe a parade.", "", "Before version 0.2."]
    done = run(texts_command, path, "--out", tmp_path / "judged.jsonl")
    assert done.exit_code == 0, done.output
    judged = read_lines(tmp_path / "judged.jsonl")
    assert [{name: row[name] for name in row if name in given} for row, given in zip(judged, rows, strict=True)] == rows
    broadcast = load_rubric("broadcast")
    assert [row["score"] for row in judged] == [measure(broadcast, CALM).score, measure(broadcast, SHOUT).score, 0]
    assert [row.get("in_band") for row in judged] == [True, False, None]
    lines = [line.split("|")[1:-1] for line in done.output.splitlines() if line.startswith("| broadcast")]
    [[_, level, n, unscored, mean, in_band]] = lines
    assert (level.strip(), int(n), int(unscored), float(in_band)) == ("low", 2, 0, 0.5)
    assert float(mean) == pytest.approx((judged[0]["score"] + judged[1]["score"]) / 2, abs=0.005)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"rubric": "broadcast"', 't.jsonl:1: got \'{"rubric": "broadcast"\\n\', expected a JSON object in one line'),
        ('{"rubric": "broadcast"}', "t.jsonl:1: response: got None, expected a text"),
        ('{"rubric": "nothing", "response": "x"}', "t.jsonl:1: rubric 'nothing' not found"),
        ('{"rubric": "broadcast", "response": "x", "level": "high"}', "t.jsonl:1: level: got 'high', expected one of"),
        ('{"rubric": "broadcast", "response": "x", "prompt": [1]}', "t.jsonl:1: user_prompt: expected a text, or chat"),
        ('{"rubric": "tone_warmth", "response": "x"}', "rubric 'tone_warmth': criterion 'affection' has no measure"),
        ("", "t.jsonl: got no line"),
    ],
)
def test_a_line_that_cannot_be_judged_is_named_and_nothing_is_written(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(line + "\n", encoding="utf-8")
    done = run(texts_command, tmp_path / "t.jsonl", "--out", tmp_path / "j.jsonl")
    assert done.exit_code == 1
    assert message in done.output
    assert not (tmp_path / "j.jsonl").exists()


def test_a_judge_that_fails_gives_a_text_no_number(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", {"rubric": "broadcast", "level": "low", "response": CALM})
    row = judged_row(read_texts(path)[0], JudgeFailure("malformed_json", "no verdict"))
    assert (row["score"], row["in_band"], row["judge_failure"]) == (None, None, "malformed_json")
    assert score_table([row])[["n", "unscored"]].to_dict("list") == {"n": [1], "unscored": [1]}
