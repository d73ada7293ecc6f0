"""`cpt verify`: every row is kept, dropped with its reason, or bad; the same input gives the same bytes."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import Result
from command_runs import ran
from command_runs import read_rows as rows_of
from fake_anthropic import Config, FakeAnthropic
from hypothesis import given, settings
from hypothesis import strategies as st
from seed import LABYRINTH, RUBRICS, SEED, SEED_FILE
from students import verdict

from cpt_tasks.cli import main
from data_gen.responses import ResponseJudgment, TeacherResponse
from data_gen.verify.checks import UNREAD
from data_gen.verify.choosing import preference
from data_gen.verify.command import verify_command
from judges import DEFAULT_JUDGE, measure
from rubrics import ScoreLevel, all_user_prompts, load_rubric
from rubrics.files import json_line, write_jsonl

LOW, HIGH = (
    next(row for row in LABYRINTH if row.level is level) for level in (ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH)
)
WARMTH = load_rubric("tone_warmth")


def verify(path: Path, out: Path, *options: object, code: int = 0) -> Result:
    return ran(verify_command, path, "--out", out, *options, code=code)


def verified(
    rows: list[TeacherResponse], folder: Path, *options: object
) -> tuple[list[str], list[dict[str, Any]], Any]:
    """Ids kept, the lines of dropped.jsonl, and verification.json."""
    write_jsonl(folder / "in.jsonl", rows)
    verify(folder / "in.jsonl", folder / "out", *options)
    return outputs(folder / "out")


def outputs(out: Path) -> tuple[list[str], list[dict[str, Any]], Any]:
    kept = [row["id"] for row in rows_of(out / "responses.jsonl")]
    dropped = rows_of(out / "dropped.jsonl")
    numbers = json.loads((out / "verification.json").read_text(encoding="utf-8"))
    assert numbers["in"] == numbers["kept"] + numbers["dropped"] + numbers["bad"]
    assert (numbers["kept"], numbers["dropped"]) == (len(kept), len(dropped))
    assert numbers["dropped_by_reason"] == Counter(row["reason"] for row in dropped)
    of_cells = [count for cell in numbers["cells"] for count in cell.values() if isinstance(count, int)]
    assert sum(of_cells) == numbers["in"] - numbers["bad"]
    assert sum(cell.get("kept", 0) for cell in numbers["cells"]) == numbers["kept"]
    return kept, dropped, numbers


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def changed(row: TeacherResponse, row_id: str, **change: Any) -> TeacherResponse:
    return row.model_copy(update={"id": row_id} | change)


def test_the_seed_passes_whole_to_the_byte(tmp_path: Path) -> None:
    done = verify(SEED_FILE, tmp_path / "out")
    assert "288 rows in = 288 kept + 0 dropped + 0 bad" in done.output
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert (kept, dropped) == ([row.id for row in SEED], [])
    assert (tmp_path / "out" / "responses.jsonl").read_bytes() == SEED_FILE.read_bytes()
    verify(tmp_path / "out" / "responses.jsonl", tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "out")
    assert len(numbers["cells"]) == 12
    assert numbers["cells"][0] == {"rubric": "broadcast", "level": "low", "teacher": "unnamed-llm", "kept": 24}
    assert numbers["rubrics"] == {name: rubric.hash for name, rubric in sorted(RUBRICS.items())}
    assert numbers["judge"] == {"judge": "measured", "prompt_version": "2"}
    assert [(file["name"], file["lines"]) for file in numbers["inputs"]] == [("responses.jsonl", 288)]
    assert numbers["options"]["near"] == 0.8


def test_a_judgment_that_no_longer_holds_is_replaced_and_one_that_does_is_kept_as_it_came(tmp_path: Path) -> None:
    row = SEED[0]
    assert row.judgment is not None
    judged = measure(RUBRICS[row.rubric], row.response)
    now = ResponseJudgment(score=judged.score, judge=judged.judge, prompt_version=judged.prompt_version)
    rounded = now.model_copy(update={"score": now.score + 1e-8})
    stale = [now.model_copy(update={"score": now.score + 1e-3}), now.model_copy(update={"prompt_version": "0"})]
    for before, after in ((rounded, rounded), *((judgment, now) for judgment in stale), (None, now)):
        verified([changed(row, "x", judgment=before)], tmp_path)
        [made] = rows_of(tmp_path / "out" / "responses.jsonl")
        assert TeacherResponse.model_validate(made).judgment == after


TEST_ID, TEST_PROMPT = next(iter(all_user_prompts("test").items()))
GERMAN = "Am Abend lag der Hafen still, und nur ein einzelnes Boot schaukelte noch am Steg. " * 3
WITHOUT_MEASURE = "rubric 'tone_warmth': criterion 'affection' has no measure; judge it with --judge MODEL"
UNMEASURED = {"rubric": WARMTH.id, "rubric_hash": WARMTH.hash}
CONTAMINATED = f"its user prompt has the id of the benchmark prompt {TEST_ID!r}"
CONTROL = "response has the control token '</s>', expected plain text"
BROKEN = "user prompt has a broken character (U+FFFD), expected whole ones"
BREAKS_OFF = f"no stop reason, and the text breaks off: {f'{LOW.response} The rest of'[-30:]!r}"
WHOLE = {"stop_reason": "unknown", "usage": {"output_tokens": 99}, "params": {"max_tokens": 100}}
NEAR = f"Jaccard 0.98 with in.jsonl:1, id {LOW.id}"
FOREIGN = {"response": GERMAN, "user_prompt": TEST_PROMPT}


@pytest.mark.parametrize(
    ("change", "reason", "detail", "score"),
    [
        # where several apply, the first in this order is given
        ({"stop_reason": "content_filter"} | FOREIGN, "refused", "stop reason content_filter", None),
        ({"response": "I cannot help with that."}, "refused", "opens with 'I cannot help with that'", None),
        ({"stop_reason": "max_tokens"} | FOREIGN, "truncated", "stop reason max_tokens", None),
        ({"stop_reason": "unknown", "response": f"{LOW.response} The rest of"}, "truncated", BREAKS_OFF, None),
        # below the limit of tokens nothing of its batch was cut
        (WHOLE | {"response": f"{LOW.response} Da"}, "near_duplicate", NEAR, 0.0),
        ({"response": "Zwei Worte.", "user_prompt": TEST_PROMPT}, "too_short", "2 words, expected 15 or more", None),
        ({"response": f"{LOW.response}</s>", "user_prompt": "[INST]"}, "control_token", CONTROL, None),
        ({"user_prompt": "A \ufffd?"}, "broken_character", BROKEN, None),
        (FOREIGN, "language", "language is 'de' with confidence 1.00, expected 'en'", None),
        ({"user_prompt_id": TEST_ID} | UNMEASURED, "contaminated", CONTAMINATED, None),
        (UNMEASURED, "unjudged", WITHOUT_MEASURE, None),
        ({"response": "Я иду в лес. " * 4}, "unjudged", UNREAD, None),  # too short to tell the language
        ({"response": HIGH.response}, "out_of_band", "scored 100, expected from 0 to 40 for low", 100.0),
        ({"level": "extremely_high"}, "out_of_band", "scored 0, expected above 92.5 to 100 for extremely_high", 0.0),
        ({"teacher": "u"}, "near_duplicate", f"Jaccard 1.00 with in.jsonl:1, id {LOW.id}", 0.0),
    ],
)
def test_each_reason_drops_its_row_and_says_why(
    change: dict[str, Any], reason: str, detail: str, score: float | None, tmp_path: Path
) -> None:
    row = TeacherResponse.model_validate(LOW.model_dump() | {"id": "x"} | change)
    kept, dropped, numbers = verified([LOW, row], tmp_path)
    assert kept == [LOW.id]
    cell = {name: getattr(row, name) for name in ("rubric", "level", "user_prompt_id", "teacher")}
    about = {"where": "in.jsonl:2", "id": "x", "score": score, "reason": reason, "detail": detail}
    assert dropped == [about | cell]
    assert numbers["dropped_by_reason"] == {reason: 1}


def words_replaced(text: str, *places: int) -> str:
    words = text.split(" ")
    for place in places:
        words[place] = "otherwise"
    return " ".join(words)


# six moderate responses to one prompt, as if written by one teacher; ranked by their distance from 66.25
MODERATE = [row for row in LABYRINTH if row.level is ScoreLevel.MODERATE][:6]
CELL = [changed(row, f"m{n}", user_prompt_id="p", user_prompt=LOW.user_prompt) for n, row in enumerate(MODERATE)]
RANKED = sorted(CELL, key=lambda row: abs(row.judgment.score - 66.25) if row.judgment else 0)
A, B = (row.id for row in RANKED[:2])
REST = {row.id: "not_best" for row in CELL}
NEAR = changed(LOW, "near", user_prompt_id="other", response=words_replaced(LOW.response, 5, 6))
HALF = changed(LOW, "half", response=words_replaced(LOW.response, *range(0, 60, 4)))
OUTSIDE, CUT = changed(LOW, "outside", response=HIGH.response), changed(LOW, "cut", stop_reason="max_tokens")
CONTROLS = [changed(LOW, f"control{n}", level="control") for n in range(2)]
L = {LOW.id: "kept"}


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        # a near copy under another prompt falls, and the earlier one stays
        ([HALF, NEAR, LOW], [], {"half": "kept", "near": "kept", LOW.id: "near_duplicate"}),
        (
            [HALF, NEAR, LOW, changed(LOW, "x")],
            ["--near", 1],
            {"half": "kept", "near": "kept", "x": "near_duplicate"} | L,
        ),
        ([LOW, changed(LOW, "x")], ["--near", 0], L | {"x": "kept"}),
        # a row dropped for another reason is no original
        ([changed(LOW, "x", level=ScoreLevel.MODERATE), LOW], [], {"x": "out_of_band"} | L),
        # controls have no band and are copies of controls only
        ([LOW, *CONTROLS], [], L | {"control0": "kept", "control1": "near_duplicate"}),
        ([changed(CONTROLS[0], "high", response=HIGH.response)], [], {"high": "kept"}),
        ([LOW, OUTSIDE, CUT], ["--keep", "all"], L | {"outside": "kept", "cut": "truncated"}),
        (CELL, ["--best-of"], REST | {A: "kept"}),
        # two files may use one id for two prompts
        ([LOW, changed(LOW, "x", user_prompt="Why?")], ["--best-of", "--near", 0], L | {"x": "kept"}),
        # a cell whose best is a copy gets its second best
        (
            [changed(RANKED[0], "taken", user_prompt_id="another", teacher="other"), *CELL],
            ["--best-of"],
            REST | {"taken": "kept", A: "near_duplicate", B: "kept"},
        ),
    ],
)
def test_which_rows_stay(
    rows: list[TeacherResponse], options: list[object], expected: dict[str, str], tmp_path: Path
) -> None:
    kept, dropped, numbers = verified(rows, tmp_path, *options)
    assert {row["id"]: row["reason"] for row in dropped} | dict.fromkeys(kept, "kept") == expected
    assert kept == [row.id for row in rows if expected.get(row.id) == "kept"]  # in file order
    assert numbers["in"] == len(expected)


@pytest.mark.parametrize(
    ("level", "scores", "best"),
    [
        (ScoreLevel.EXTREMELY_HIGH, [93, 99, 97], 1),
        (ScoreLevel.LOW, [30, 12, 20], 1),
        (ScoreLevel.MODERATE, [90, 41, 66, 67], 2),  # the middle is 66.25
        (ScoreLevel.MODERATE, [20, 95, 30], 1),  # 20 below, 2.5 above, 10 below
        ("control", [0, 100], 0),
    ],
)
def test_what_is_preferred_by_hand(level: Any, scores: list[float], best: int) -> None:
    order = sorted(range(len(scores)), key=lambda number: preference(level, scores[number]))
    assert order[0] == best


def test_bad_rows_are_counted_and_good_ones_survive(tmp_path: Path) -> None:
    good = [json.loads(json_line(row)) for row in SEED[:3]]
    lines = [good[0], good[1] | {"level": "tiny"}, good[1] | {"rubric_hash": "0"}, good[0], good[2]]
    path = tmp_path / "in.jsonl"
    path.write_text("{not JSON\n\n" + "\n".join(map(json.dumps, lines)), encoding="utf-8")  # no newline at the end
    done = verify(path, tmp_path / "out")
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert (kept, dropped) == ([SEED[0].id, SEED[2].id], [])
    assert (numbers["in"], numbers["bad"]) == (6, 4)  # a blank line is no row
    assert numbers["bad_by_kind"] == {"bad_row": 2, "edited_rubric": 1, "repeated_id": 1}
    assert "6 rows in = 2 kept + 0 dropped + 4 bad" in done.output
    assert "4 bad rows skipped: 2 bad_row, 1 " in done.output
    assert f"{path}:5: written for rubric 'broadcast' with hash 0, expected" in done.output


KINDS: dict[str, dict[str, Any]] = {
    "good": {},
    "copy": {"teacher": "other"},
    "cut": {"stop_reason": "max_tokens"},
    "short": {"response": "Too short."},
    "outside": {"level": ScoreLevel.EXTREMELY_HIGH},
    "control": {"level": "control"},
    "unknown": {"rubric": "sonnet"},
    "unmeasured": UNMEASURED,
}


@settings(max_examples=5)
@given(
    rows=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 5)), max_size=12),
    options=st.sampled_from([[], ["--best-of"], ["--keep", "all"], ["--near", "0"]]),
)
def test_rows_in_are_rows_kept_dropped_and_bad(
    rows: list[tuple[str, int]], options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("accounts")
    low = [row for row in LABYRINTH if row.level is ScoreLevel.LOW]
    made = [changed(low[text], f"{number}", **KINDS[kind]) for number, (kind, text) in enumerate(rows)]
    kept, dropped, numbers = verified(made, folder, *options)
    assert numbers["in"] == len(rows)
    bad = [str(number) for number, (kind, _) in enumerate(rows) if kind == "unknown"]
    assert numbers["bad"] == len(bad)
    assert sorted([*kept, *(row["id"] for row in dropped), *bad]) == sorted(row.id for row in made)
    again = folder / "again"
    verify(folder / "in.jsonl", again, *options)
    assert files(again) == files(folder / "out")


WARM = [
    changed(row, f"warm{number}", level=ScoreLevel.EXTREMELY_HIGH, **UNMEASURED)
    for number, row in enumerate(SEED[:40:2])
]


def by_model(folder: Path, *options: object, out: str = "out", code: int = 0) -> Result:
    """What comes of in.jsonl of a folder, judged by a model, whose calls are kept there."""
    asked = ("--judge", DEFAULT_JUDGE, "--store", folder / "calls.sqlite")
    return verify(folder / "in.jsonl", folder / out, *asked, *options, code=code)


def test_a_model_judges_each_row_once_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic, tmp_path: Path
) -> None:
    anthropic_server.config = Config(latency_seconds=0.005, latency_sigma=0.5)
    anthropic_server.reply = lambda body: verdict(97 if "storm" in str(body["messages"]) else 50, WARMTH.id)
    write_jsonl(tmp_path / "in.jsonl", [*WARM, changed(WARM[0], "cut", stop_reason="max_tokens")])
    done = by_model(tmp_path, "--max-connections", 4)
    assert anthropic_server.stats.requests == len(WARM) == 20
    assert anthropic_server.stats.peak_in_flight <= 4
    assert (
        f"judge {DEFAULT_JUDGE}: 20 judgments, 0 of them stored or asked twice, 20 calls to send: about " in done.output
    )
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert kept == [row.id for row in WARM if "storm" in row.user_prompt + row.response]
    assert 0 < len(kept) < 20
    assert numbers["dropped_by_reason"] == {"out_of_band": 20 - len(kept), "truncated": 1}
    assert [row["id"] for row in dropped if row["reason"] != "truncated"] == [
        row.id for row in WARM if row.id not in kept
    ]
    assert numbers["judge"]["judge"] == DEFAULT_JUDGE
    assert len(numbers["judge"]["judge_hash"]) == len(numbers["judge"]["prompt_hash"]) == 12
    done = by_model(tmp_path, out="again")
    assert anthropic_server.stats.requests == 20
    assert "20 judgments, 20 of them stored or asked twice, 0 calls to send" in done.output
    assert files(tmp_path / "again") == files(tmp_path / "out")


def test_a_judge_that_is_down_is_one_sentence_and_what_it_answered_is_kept(
    anthropic_server: FakeAnthropic, tmp_path: Path
) -> None:
    served = anthropic_server.stats.served

    def reply(body: dict[str, Any]) -> str:
        if is_down and served.total() == 10:
            raise web.HTTPForbidden  # not retried
        return verdict(97, WARMTH.id)

    is_down, anthropic_server.reply = True, reply
    write_jsonl(tmp_path / "in.jsonl", WARM)
    done = by_model(tmp_path, "--max-connections", 1, code=1)
    assert "Error: " in done.output and "the same command goes on from here" in done.output
    assert not list(tmp_path.glob("out/*"))
    assert served.total() == 10
    is_down = False
    by_model(tmp_path)
    assert served.total() == 20
    assert anthropic_server.stats.paid_twice == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rubrics", "nonsense"], "rubric 'nonsense' not found, expected one of"),
        (["--near", "0.6"], "--near: got 0.6, expected a Jaccard from 0.7 to 1, or 0"),
        (["--language", "english"], "language: got 'english', expected 'any' or one of"),
        (["--judge", "nonsense"], "nonsense"),
        (["none.jsonl"], "none.jsonl: not found, expected a responses file in JSONL"),
        (["--out", "."], "responses.jsonl: is read and would be overwritten, expected another"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / ("responses.jsonl" if "--out" in options else "in.jsonl")
    write_jsonl(source, [LOW])
    assert message in verify(source, tmp_path / "out", *options, code=1).output
    assert source.read_text(encoding="utf-8") == json_line(LOW)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("command", "near_duplicates", "checks", "choosing", "contamination"):
        monkeypatch.delitem(sys.modules, f"data_gen.verify.{module}")
    monkeypatch.setitem(sys.modules, "rensa", None)
    done = ran(main, "verify", "--help", code=1)
    assert "Error: import of rensa halted" in done.output and "pip install 'cpt-tasks[data]'" in done.output
