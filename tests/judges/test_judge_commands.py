"""The commands of `cpt judge`, end to end on the seed responses and on small logs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cpt_tasks.drift import drift
from cpt_tasks.rubric_adherence import rubric_adherence
from cpt_tasks.scorers import rubric_judge
from inspect_ai import eval as inspect_eval

from cpt_tasks.judging.audit import KnownText, draw_texts, judge_texts, read_texts, write_audit
from cpt_tasks.judging.calibrate import write_calibration
from cpt_tasks.judging.commands import judge_group
from cpt_tasks.judging.logs import JudgedLog, JudgedSample, Label, read_judged_log, read_labels
from judges import JudgeFailure, Judgment, measure
from rubrics import Rubric, ScoreLevel, load_rubric

SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"
MIXED = f"{CALM} {SHOUT}"
CRITERIA = ("excitement", "address", "brevity")


def cpt_judge(*arguments: object) -> Result:
    return CliRunner().invoke(judge_group, [str(argument) for argument in arguments])


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def verdict(score: float) -> str:
    criteria = [{"id": criterion, "reason": "r", "score": score} for criterion in CRITERIA]
    return json.dumps({"criteria": criteria, "holistic_score": score})


def student(high: str, moderate: str, low: str) -> Callable[[list[Any]], str]:
    """Writes one text per level, whatever the prompt."""
    prompts = load_rubric("broadcast").system_prompts
    replies = {ScoreLevel.EXTREMELY_HIGH: high, ScoreLevel.MODERATE: moderate, ScoreLevel.LOW: low}
    wordings = {wording: reply for level, reply in replies.items() for wording in prompts[level].heldout}
    return lambda messages: wordings[messages[0].text]


def grader(score_of: dict[str, float]) -> Callable[[list[Any]], str]:
    """Scores a text by the first of its known marks."""
    return lambda messages: verdict(next(score for mark, score in score_of.items() if mark in messages[-1].text))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the default call store lies in the working folder


@pytest.fixture
def judged_log(mock_model: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Makes a log of 4 prompts x 3 levels of one student, judged by the measured judge or by a fake grader."""

    def make(folder: str, name: str, write: Callable[[list[Any]], str], grade: Any = None) -> str:
        task = rubric_adherence("broadcast", judge="measured", limit_per_cell=4)
        roles = {}
        if grade:
            task.scorer = [rubric_judge("model", call_store=str(tmp_path / folder / "calls.jsonl"))]
            roles = {"grader": mock_model(grade, name="grader")}
        model = mock_model(write, name=name)
        [log] = inspect_eval(task, model=model, model_roles=roles, log_dir=str(tmp_path / folder), display="none")
        assert log.status == "success", log.error
        return str(log.location)

    return make


def test_the_audit_of_the_measured_judge_is_perfect(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    done = cpt_judge("audit", "--measured", "--repeats", 2, "--limit", 3, "--out", out)
    assert done.exit_code == 0, done.output
    found = strict_json(out / "audit.json")
    audit = found["audit"]
    assert (found["judge"], found["repeats"], len(found["texts"])) == ("measured", 2, 36)
    assert (audit["agreement"]["mae"], audit["agreement"]["level_kappa"]) == (0, 1)
    assert audit["bias"] == {"value": 0, "ci_low": 0, "ci_high": 0}
    assert (audit["noise"]["sd"], audit["noise"]["attainable"]) == (0, 1)
    page = (out / "audit.md").read_text(encoding="utf-8")
    assert "36 texts, 0 unscored" in page
    assert "data_gen/seed/responses.jsonl" in page
    assert str(tmp_path) not in page + (out / "command.txt").read_text()
    for figure in ("judged_against_measured.png", "bias.png", "distribution.png"):
        assert (out / figure).read_bytes()[:4] == b"\x89PNG"
        assert f"({figure})" in page


def test_the_audit_of_a_biased_model_shows_its_bias(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a model that always says 55: no bias is hidden by a correlation, and its scores have one value
    model = mock_model(lambda _: verdict(55), name="fake")
    monkeypatch.setattr("judges.judge_model", lambda name: model)
    arguments = ("--rubrics", "broadcast", "--limit", 2, "--repeats", 2, "--store", tmp_path / "calls.jsonl")
    done = cpt_judge("audit", "--judge-model", "mockllm/fake", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = strict_json(tmp_path / "out" / "audit.json")
    texts, audit = found["texts"], found["audit"]
    assert [text["judged"] for text in texts] == [[55, 55]] * 6
    assert len(model.seen) == 12  # every repeat is a call of its own
    expected = sum(55 - text["measured"] for text in texts) / 6
    assert audit["bias"]["value"] == pytest.approx(expected, abs=1e-5)
    assert (audit["agreement"]["pearson"], audit["judged_saturation"]["distinct"]) == (None, 1)
    assert audit["judged_order_accuracy"] == 0.5

    again = cpt_judge("audit", "--judge-model", "mockllm/fake", *arguments, "--out", tmp_path / "out")
    assert again.exit_code == 0, again.output
    assert len(model.seen) == 12  # all in the store


def test_a_judge_that_never_answers_is_an_error_and_no_number(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = mock_model(lambda _: "no", stop_reason="content_filter")
    monkeypatch.setattr("judges.judge_model", lambda name: model)
    arguments = ("--rubrics", "broadcast", "--limit", 1, "--store", tmp_path / "calls.jsonl", "--out", tmp_path)
    done = cpt_judge("audit", "--judge-model", "mockllm/fake", *arguments)
    assert done.exit_code == 1
    assert "no judgment of 3 texts (refusal 3), expected at least one" in done.output


def test_an_audit_through_the_real_client_asks_once_per_text(
    anthropic_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from inspect_ai.model import get_model

    from judges import judge_model

    monkeypatch.setattr("judges.judge_model", lambda name: judge_model(get_model(name, memoize=False)))
    arguments = ("--rubrics", "broadcast,reverie", "--limit", 2, "--store", tmp_path / "calls.jsonl")
    for _ in range(2):
        done = cpt_judge("audit", "--judge-model", "anthropic/claude-haiku-5-5", *arguments, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert anthropic_server.stats.requests == 12
    found = strict_json(tmp_path / "out" / "audit.json")
    assert found["audit"]["n_judgments"] == 12


class Offline:
    def __init__(self, *_: object) -> None:
        pass

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        raise ConnectionError("no route to host")


def test_a_broken_connection_is_one_sentence_that_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("judges.ModelJudge", Offline)
    arguments = ("--judge-model", "mockllm/model", "--limit", 1, "--store", tmp_path / "calls.jsonl")
    done = cpt_judge("audit", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "the first with ConnectionError: no route to host; what was answered is kept" in done.output
    assert not (tmp_path / "out").exists()


class Moody:
    """Refuses the texts of one level and adds 7 to the others."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        score = measure(rubric, response).score
        if score > 92.5:
            raise JudgeFailure("refusal", "no")
        return Judgment(score=score + 7, judge="moody", prompt_version="9", rubric_hash=rubric.hash)


def test_an_audit_counts_refusals_and_shows_the_bias_put_in(tmp_path: Path) -> None:
    rubrics = [load_rubric("broadcast")]
    texts = draw_texts(read_texts(SEED_FILE, rubrics), 5, seed=0)
    judged = judge_texts(texts, rubrics, [Moody()])
    page = write_audit(tmp_path, "moody", rubrics, judged, "seed", repeats=1, seed=0)
    assert "10 judgments of 15 texts, 5 unscored (refusal 5)" in page
    assert "| all                    | 7.0 [7.0, 7.0] |" in page
    assert "| extremely_high         | undefined      |" in page
    assert "judged once" in page
    assert strict_json(tmp_path / "audit.json")["prompt_version"] == "9"


def test_texts_are_drawn_by_prompt_with_a_seed() -> None:
    rubrics = [load_rubric("broadcast"), load_rubric("reverie")]
    texts = read_texts(SEED_FILE, rubrics)
    assert len(texts) == 144
    drawn = draw_texts(texts, 2, seed=1)
    assert drawn == draw_texts(texts, 2, seed=1)
    assert drawn != draw_texts(texts, 2, seed=2)
    cells = {(text.rubric, text.prompt_id) for text in drawn}
    assert len(drawn) == 12
    assert len(cells) == 4  # all three levels of each
    assert len(draw_texts(texts, 99, seed=1)) == 144


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--judge-model", "mockllm/model"), "expected either --judge-model MODEL or --measured"),
        (("--measured", "--rubrics", "nonsense"), "rubric 'nonsense' not found"),
        (("--measured", "--responses", "nowhere.jsonl"), "nowhere.jsonl: not found, expected a responses file"),
    ],
)
def test_audits_that_cannot_be_are_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = cpt_judge("audit", *arguments, "--out", tmp_path)
    assert done.exit_code != 0
    assert message in done.output


def test_a_judge_without_a_key_is_one_sentence(tmp_path: Path) -> None:
    arguments = ("--store", tmp_path / "calls.jsonl", "--out", tmp_path)
    done = cpt_judge("audit", "--judge-model", "anthropic/claude-haiku-5-5", *arguments)
    assert done.exit_code == 1
    assert "ANTHROPIC_API_KEY" in done.output
    assert "Traceback" not in done.output


def test_bad_lines_of_a_responses_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    good = {"prompt_id": "p", "prompt": "P", "rubric": "reverie", "level": "low", "response": CALM}
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | {"level": "huge"}) + "\n")
    with pytest.raises(ValueError, match=r"texts.jsonl:2: level: Input should be 'low'"):
        read_texts(path, [load_rubric("reverie")])
    path.write_text(json.dumps(good))
    assert read_texts(path, [load_rubric("reverie")]) == [KnownText.model_validate(good)]
    with pytest.raises(ValueError, match="no text of rubric 'broadcast'"):
        read_texts(path, [load_rubric("broadcast")])


def write_labels(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_calibration_finds_the_link_and_corrects_the_mean(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the judge says 70, 60, 30, people 90, 70, 10 (human = 2 * judge - 50) and label 2 responses of each level
    grade = grader({MIXED: 60, CALM: 30, SHOUT: 70})
    path = judged_log("logs", "student", student(SHOUT, MIXED, CALM), grade)
    samples = read_judged_log(path).samples
    lines = ["sample_id,score,rater"]
    for level in ScoreLevel:
        keys = [key for key, sample in samples.items() if sample.level is level][:2]
        for (sample_id, _), wobble in zip(keys, (-1, 1), strict=True):
            score = 2 * samples[sample_id, 1].score - 50
            lines += [f"{sample_id},{score + wobble + by},{rater}" for rater, by in (("ada", 2), ("bob", -2))]
    done = cpt_judge("calibrate", write_labels(tmp_path / "l.csv", lines), "--log", path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = strict_json(tmp_path / "out" / "calibration.json")
    link, mean = found["calibration"]["link"], found["calibration"]["mean"]
    assert (link["slope"]["value"], link["intercept"]["value"]) == pytest.approx((2, -50), abs=1e-5)
    assert link["raw_mae"] == pytest.approx((20 + 10 + 20) / 3, abs=1e-5)
    assert (mean["n_labelled"], mean["n_unlabelled"]) == (6, 6)
    assert mean["judge_only"] == pytest.approx((70 + 60 + 30) / 3, abs=1e-5)
    assert mean["corrected"]["value"] == pytest.approx((90 + 70 + 10) / 3, abs=1e-5)
    assert found["raters"] == 2
    assert found["labelled_by_level"] == dict.fromkeys(("low", "moderate", "extremely_high"), "2 of 4")
    assert "corrected (prediction-powered)" in done.output
    for figure in ("human_against_judge.png", "mean_score.png"):
        assert (tmp_path / "out" / figure).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["sample,score", "a,1"], "l.csv:1: got columns ['sample', 'score'], expected sample_id and score"),
        (["sample_id,score"], "l.csv: got no label"),
        (["sample_id,score", "ID,abc"], "l.csv:2: score is 'abc', expected a number from 0 to 100"),
        (["sample_id,score", "ID,5", "ID2,101"], "l.csv:3: score is '101', expected a number from 0 to 100"),
        (["sample_id,score,epoch", "ID,5,one"], "l.csv:2: epoch is 'one', expected a whole number"),
        (["sample_id,score,epoch", "ID,5,2"], "epoch 2 is not in"),
        (["sample_id,score", "nobody,5"], "l.csv:2: sample 'nobody' epoch 1 is not in"),
        (["sample_id,score", "ID,5", "ID,6"], "l.csv:3: sample 'ID' epoch 1 has two labels by rater ''"),
        (["sample_id,score", "ID,5,6"], "l.csv:2: the line has more or fewer fields than the header"),
    ],
)
def test_bad_labels_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    sample = JudgedSample("broadcast", ScoreLevel.LOW, "p", CALM, 20.0)
    log = JudgedLog("student", "x.eval", "measured", "1", {}, {("ID", 1): sample, ("ID2", 1): sample})
    with pytest.raises(ValueError) as caught:
        read_labels(write_labels(tmp_path / "l.csv", lines), log)
    assert message in str(caught.value)


def test_labels_of_unscored_responses_are_left_out_and_counted(tmp_path: Path) -> None:
    samples = {(f"s{i}", 1): JudgedSample("r", ScoreLevel.LOW, f"p{i}", CALM, score) for i, score in SCORED}
    log = JudgedLog("student", "x.eval", "measured", "1", {}, samples)
    lines = ["sample_id,epoch,score", *(f"s{i},1,{10 * i}" for i in range(1, 5))]
    page = write_calibration(tmp_path, log, read_labels(write_labels(tmp_path / "l.csv", lines), log))
    assert "3 responses labelled by 1 rater (low 3 of 4), 1 without a label; 1 labelled responses left out" in page
    assert strict_json(tmp_path / "calibration.json")["labelled_but_unscored"] == 1
    with pytest.raises(ValueError, match="got 2 labelled responses, expected at least 3"):
        write_calibration(tmp_path, log, read_labels(write_labels(tmp_path / "l.csv", lines[:3]), log))


def test_labels_of_one_level_only_are_warned_of(tmp_path: Path) -> None:
    samples = {(f"s{i}", 1): JudgedSample("r", list(ScoreLevel)[i % 3], f"p{i}", CALM, 10.0 + i) for i in range(60)}
    log = JudgedLog("student", "x.eval", "measured", "1", {}, samples)
    every = [Label((f"s{i}", 1), "", 12.0 + i) for i in range(60)]
    assert "no random sample" not in write_calibration(tmp_path, log, every[:21])
    assert "no random sample" in write_calibration(tmp_path, log, every[::3])


SCORED = ((1, 12.0), (2, 17.0), (3, float("nan")), (4, 44.0), (5, 30.0))


def test_a_calibration_without_a_log_is_one_sentence(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.csv", ["sample_id,score", "a,5"])
    done = cpt_judge("calibrate", labels, "--log", tmp_path / "nowhere.eval", "--out", tmp_path)
    assert done.exit_code == 1
    assert "nowhere.eval: not found, expected an .eval log" in done.output.replace("\n", "")


def test_swap_compares_two_judges_and_ranks_the_models(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the measured judge puts `tuned` (right at low and high) before `base`; the grader gives calm 95 and loud 20
    tuned, base = student(SHOUT, CALM, CALM), student(CALM, CALM, CALM)
    grade = grader({CALM: 95, SHOUT: 20})
    for name, write in (("tuned", tuned), ("base", base)):
        judged_log("measured", name, write)
        judged_log("model", name, write, grade)
    done = cpt_judge("swap", tmp_path / "measured", tmp_path / "model", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    swap = strict_json(tmp_path / "out" / "swap.json")["swap"]
    assert (swap["judge_a"], swap["judge_b"]) == ("measured", "mockllm/grader")
    by_name = {model["model"]: model for model in swap["models"]}
    assert by_name["tuned"]["by_a"]["value"] == pytest.approx(2 / 3)  # low and high
    assert by_name["tuned"]["by_b"]["value"] == 0  # 20 at high, 95 at moderate and low
    assert by_name["base"]["by_a"]["value"] == pytest.approx(1 / 3)  # low
    assert by_name["base"]["by_b"]["value"] == pytest.approx(1 / 3)  # high
    assert swap["ranks_tau"] == -1
    assert "2 of 2 models change rank" in done.output
    assert swap["link"]["slope"]["value"] < 0
    assert swap["compared"]["bias_by_level"]["low"]["value"] == pytest.approx(95, abs=10)
    for figure in ("judge_against_judge.png", "bias.png", "ranks.png"):
        assert (tmp_path / "out" / figure).read_bytes()[:4] == b"\x89PNG"


def test_swap_of_a_log_with_itself_is_perfect(judged_log: Callable[..., str], tmp_path: Path) -> None:
    path = judged_log("logs", "student", student(SHOUT, MIXED, CALM))
    done = cpt_judge("swap", path, path)
    assert done.exit_code == 0, done.output
    swap = strict_json(tmp_path / "results" / "swap" / "swap.json")["swap"]
    assert (swap["judge_a"], swap["judge_b"]) == ("measured (first)", "measured (second)")
    assert (swap["compared"]["agreement"]["mae"], swap["compared"]["agreement"]["level_accuracy"]) == (0, 1)
    assert (swap["link"]["slope"]["value"], swap["link"]["intercept"]["value"]) == pytest.approx((1, 0), abs=1e-6)
    assert "One model: nothing to rank." in done.output


def test_swap_refuses_other_responses_other_models_and_mixed_judges(
    judged_log: Callable[..., str], tmp_path: Path
) -> None:
    one = judged_log("a", "student", student(SHOUT, CALM, CALM))
    cases = {
        "has two different responses": [judged_log("b", "student", student(SHOUT, SHOUT, CALM))],
        "expected the same models on both sides": [judged_log("c", "other", student(SHOUT, CALM, CALM))],
        "logs of several judges on one side": [
            judged_log("d", "student", student(SHOUT, CALM, CALM)),
            judged_log("d", "third", student(SHOUT, CALM, CALM), grader({CALM: 95, SHOUT: 20})),
        ],
    }
    for message, paths in cases.items():
        done = cpt_judge("swap", one, Path(paths[0]).parent, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert message in done.output.replace("\n", " "), done.output


def test_help_needs_no_harness() -> None:
    import subprocess
    import sys

    script = "import sys, cpt_tasks.judging.commands; print([m for m in ('inspect_ai', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_log_without_levels_is_refused_in_one_sentence(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    [log] = inspect_eval(
        drift(rubrics="broadcast", judge="measured", limit_per_family=1),
        model=mock_model(lambda _: CALM),
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    done = cpt_judge("swap", log.location, log.location)
    assert done.exit_code == 1
    assert (
        "asks for level 'none', expected a log of a benchmark that asks for low, moderate, extremely_high"
        in done.output
    )


# texts of a file


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_of_a_file_are_judged_as_they_would_be_in_a_benchmark(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "Describe a parade."}]
    rows = [
        {"rubric": "broadcast", "level": "low", "prompt": chat, "response": CALM, "step": 3},
        {"rubric": "broadcast", "level": "low", "response": SHOUT},
        {"rubric": "reverie", "response": "Too short."},
    ]
    done = cpt_judge("texts", write_lines(tmp_path / "texts.jsonl", *rows), "--out", tmp_path / "judged.jsonl")
    assert done.exit_code == 0, done.output
    judged = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{name: row[name] for name in row if name in given} for row, given in zip(judged, rows, strict=True)] == rows
    broadcast = load_rubric("broadcast")
    assert [row["score"] for row in judged] == [measure(broadcast, CALM).score, measure(broadcast, SHOUT).score, 0]
    assert [row.get("in_band") for row in judged] == [True, False, None]
    lines = [line.split("|")[1:-1] for line in done.output.splitlines() if line.startswith("| broadcast")]
    [[_, level, n, unscored, mean, in_band]] = lines
    assert (level.strip(), int(n), int(unscored), float(in_band)) == ("low", 2, 0, 0.5)
    assert float(mean) == pytest.approx((judged[0]["score"] + judged[1]["score"]) / 2, abs=0.005)


def test_a_judge_that_fails_gives_a_text_no_number(
    mock_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mock_model(lambda messages: "no verdict")
    monkeypatch.setattr("judges.judge_model", lambda name: model)
    row = {"rubric": "broadcast", "level": "low", "response": CALM}
    done = cpt_judge(
        "texts", write_lines(tmp_path / "t.jsonl", row), "--judge", "mockllm/student", "--out", tmp_path / "j.jsonl"
    )
    assert done.exit_code == 0, done.output
    [judged] = [json.loads(line) for line in (tmp_path / "j.jsonl").read_text(encoding="utf-8").splitlines()]
    assert judged["score"] is None
    assert judged["in_band"] is None
    assert judged["judge_failure"] != ""
    [line] = [line for line in done.output.splitlines() if line.startswith("| broadcast")]
    assert [cell.strip() for cell in line.split("|")[3:5]] == ["1", "1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"rubric": "broadcast"', "t.jsonl:1: not JSON"),
        ("[]", "t.jsonl:1: got list, expected an object with rubric and response"),
        ('{"rubric": "broadcast"}', "t.jsonl:1: response: got None, expected a text"),
        ('{"rubric": "nothing", "response": "x"}', "t.jsonl:1: rubric 'nothing' not found"),
        ('{"rubric": "broadcast", "response": "x", "level": "high"}', "t.jsonl:1: level: got 'high', expected one of"),
        ('{"rubric": "broadcast", "response": "x", "prompt": [1]}', "t.jsonl:1: prompt: expected a text, or chat"),
        ('{"rubric": "tone_warmth", "response": "x"}', "rubric 'tone_warmth': criterion 'affection' has no measure"),
        ("", "t.jsonl: got no line"),
    ],
)
def test_a_line_that_cannot_be_judged_is_named_and_nothing_is_written(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(line + "\n", encoding="utf-8")
    done = cpt_judge("texts", tmp_path / "t.jsonl", "--out", tmp_path / "j.jsonl")
    assert done.exit_code == 1
    assert message in done.output
    assert not (tmp_path / "j.jsonl").exists()
