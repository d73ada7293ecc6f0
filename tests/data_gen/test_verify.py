"""`cpt verify`: every row is kept, dropped with its reason, or bad; the same input gives the same bytes."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_anthropic import Config, FakeAnthropic
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses
from data_gen.verify.checks import REASONS, Checks
from data_gen.verify.command import verify_command
from data_gen.verify.judging import check_by_measures
from data_gen.verify.selection import preference
from judges import DEFAULT_JUDGE, measure
from rubrics import ScoreLevel, all_user_prompts, load_rubric, load_rubrics
from rubrics.files import json_line, read_jsonl, write_jsonl

SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
LABYRINTH = [row for row in SEED if row.rubric == "labyrinth"]
LOW, HIGH = (
    next(row for row in LABYRINTH if row.level is level) for level in (ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH)
)
WARMTH = load_rubric("tone_warmth")


def verify(path: Path, out: Path, *options: object) -> Result:
    arguments = [str(path), "--out", str(out), "--workers", "1", *(str(option) for option in options)]
    return CliRunner().invoke(verify_command, arguments)


def verified(
    rows: list[TeacherResponse], folder: Path, *options: object
) -> tuple[list[str], list[dict[str, Any]], Any]:
    """Ids kept, the lines of dropped.jsonl, and verification.json."""
    write_jsonl(folder / "in.jsonl", rows)
    done = verify(folder / "in.jsonl", folder / "out", *options)
    assert done.exit_code == 0, done.output
    return outputs(folder / "out")


def outputs(out: Path) -> tuple[list[str], list[dict[str, Any]], Any]:
    kept = [row["id"] for row in rows_of(out / "responses.jsonl")]
    dropped = rows_of(out / "dropped.jsonl")
    numbers = json.loads((out / "verification.json").read_text(encoding="utf-8"))
    assert numbers["in"] == numbers["kept"] + numbers["dropped"] + numbers["bad"]
    assert (numbers["kept"], numbers["dropped"]) == (len(kept), len(dropped))
    assert numbers["dropped_by_reason"] == Counter(row["reason"] for row in dropped)
    for part in ("kept", "in"):
        assert sum(cell[part] for cell in numbers["cells"]) == numbers[part] - (numbers["bad"] if part == "in" else 0)
    return kept, dropped, numbers


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def changed(row: TeacherResponse, row_id: str, **change: Any) -> TeacherResponse:
    return row.model_copy(update={"id": row_id} | change)


def words_replaced(text: str, *places: int) -> str:
    words = text.split(" ")
    for place in places:
        words[place] = "otherwise"
    return " ".join(words)


def test_the_seed_passes_whole_to_the_byte_and_its_scores_are_what_the_judge_gives_now(tmp_path: Path) -> None:
    done = verify(SEED_FILE, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "288 rows in = 288 kept + 0 dropped + 0 bad" in done.output
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert (kept, dropped) == ([row.id for row in SEED], [])
    assert (tmp_path / "out" / "responses.jsonl").read_bytes() == SEED_FILE.read_bytes()
    for row in SEED:
        assert row.judgment is not None
        assert row.judgment.score == pytest.approx(measure(RUBRICS[row.rubric], row.response).score, abs=1e-9)
    assert len(numbers["cells"]) == 12
    assert numbers["cells"][0] == {
        "rubric": "broadcast",
        "level": "low",
        "teacher": "unnamed-llm",
        "in": 24,
        "kept": 24,
        "dropped_by_reason": {},
    }
    assert numbers["rubrics"] == {name: rubric.hash for name, rubric in sorted(RUBRICS.items())}
    assert numbers["judge"] == {"judge": "measured", "prompt_version": "1", "prompt_hash": "", "judge_hash": ""}
    assert [(file["name"], file["lines"]) for file in numbers["inputs"]] == [("responses.jsonl", 288)]
    assert numbers["thresholds"]["near_duplicates"]["recall_at_threshold"] == 0.9983


def test_its_own_output_comes_out_byte_for_byte_with_any_number_of_workers(tmp_path: Path) -> None:
    assert verify(SEED_FILE, tmp_path / "first").exit_code == 0
    again = tmp_path / "first" / "responses.jsonl"
    for name, workers in (("one", 1), ("same", 1), ("two", 2)):
        arguments = [str(again), "--out", str(tmp_path / name), "--workers", str(workers)]
        assert CliRunner().invoke(verify_command, arguments).exit_code == 0
    assert (tmp_path / "one" / "responses.jsonl").read_bytes() == again.read_bytes()
    assert files(tmp_path / "one") == files(tmp_path / "same") == files(tmp_path / "two")
    assert sorted(files(tmp_path / "one")) == ["dropped.jsonl", "responses.jsonl", "verification.json"]


def test_a_judgment_that_no_longer_holds_is_replaced_and_one_that_does_is_kept_as_it_came(tmp_path: Path) -> None:
    row = SEED[0]
    assert row.judgment is not None
    now = ResponseJudgment.of(measure(RUBRICS[row.rubric], row.response))
    rounded = now.model_copy(update={"score": now.score + 1e-8})
    stale = [now.model_copy(update={"score": now.score + 1e-3}), now.model_copy(update={"prompt_version": "0"})]
    for before, after in ((rounded, rounded), *((judgment, now) for judgment in stale), (None, now)):
        verified([changed(row, "x", judgment=before)], tmp_path)
        [made] = rows_of(tmp_path / "out" / "responses.jsonl")
        assert TeacherResponse.model_validate(made).judgment == after


TEST_PROMPT_ID, TEST_PROMPT = next(iter(all_user_prompts("test").items()))
GERMAN = "Am Abend lag der Hafen still, und nur ein einzelnes Boot schaukelte noch am Steg. " * 3
UNMEASURED = changed(LOW, "unjudged", rubric=WARMTH.id, rubric_hash=WARMTH.hash)


@pytest.mark.parametrize(
    ("row", "reason", "detail", "score"),
    [
        (changed(LOW, "x", stop_reason="content_filter"), "refused", "stop reason content_filter", None),
        (
            changed(LOW, "x", response="I cannot help with that."),
            "refused",
            "opens with 'I cannot help with that'",
            None,
        ),
        (changed(LOW, "x", stop_reason="max_tokens"), "truncated", "stop reason max_tokens", None),
        (changed(LOW, "x", response="Three short words."), "too_short", "3 words, expected 15 or more", None),
        (changed(LOW, "x", response=GERMAN), "language", "language is 'de' with confidence 1.00, expected 'en'", None),
        (
            changed(LOW, "x", response=f"A low-scoring response: {LOW.response}"),
            "mentions_rubric",
            "says 'low-scoring response'",
            None,
        ),
        (
            changed(LOW, "x", user_prompt=TEST_PROMPT),
            "contaminated",
            f"its user prompt is the benchmark prompt 'test prompt {TEST_PROMPT_ID}'",
            None,
        ),
        (
            changed(LOW, "x", user_prompt_id=TEST_PROMPT_ID),
            "contaminated",
            f"its user prompt has the id of the benchmark prompt '{TEST_PROMPT_ID}'",
            None,
        ),
        (
            changed(UNMEASURED, "x"),
            "unjudged",
            "not_measurable: rubric 'tone_warmth': criterion 'affection' has no measure",
            None,
        ),
        (
            changed(LOW, "x", response=HIGH.response),
            "out_of_band",
            "scored 100, expected from 0 to 40 for low",
            100.0,
        ),
        (
            changed(HIGH, "x", response=LOW.response),
            "out_of_band",
            "scored 0, expected above 92.5 to 100 for extremely_high",
            0.0,
        ),
        (changed(LOW, "x", teacher="u"), "near_duplicate", f"Jaccard 1.00 with in.jsonl:1, id {LOW.id}", 0.0),
    ],
)
def test_each_reason_drops_its_row_and_says_why(
    row: TeacherResponse, reason: str, detail: str, score: float | None, tmp_path: Path
) -> None:
    kept, dropped, numbers = verified([LOW, row], tmp_path)
    assert kept == [LOW.id]
    assert dropped == [
        {
            "where": "in.jsonl:2",
            "id": "x",
            "rubric": row.rubric,
            "level": row.level,
            "user_prompt_id": row.user_prompt_id,
            "teacher": row.teacher,
            "score": score,
            "reason": reason,
            "detail": detail,
        }
    ]
    assert numbers["dropped_by_reason"] == {reason: 1}
    assert (tmp_path / "out" / "unjudged.jsonl").is_file() == (reason == "unjudged")


def test_the_first_reason_in_the_stated_order_is_given(tmp_path: Path) -> None:
    everything = {"stop_reason": "content_filter", "response": "Zu kurz.", "user_prompt": TEST_PROMPT}
    _, dropped, _ = verified(
        [
            changed(LOW, "a", **everything),
            changed(LOW, "b", **(everything | {"stop_reason": "max_tokens"})),
            changed(LOW, "c", **(everything | {"stop_reason": "stop"})),
            changed(LOW, "d", user_prompt=TEST_PROMPT, response=f"A low-scoring text: {HIGH.response}"),
            changed(LOW, "e", user_prompt=TEST_PROMPT, response=HIGH.response),
        ],
        tmp_path,
    )
    found = [row["reason"] for row in dropped]
    assert found == ["refused", "truncated", "too_short", "mentions_rubric", "contaminated"]
    assert found == sorted(found, key=[*REASONS].index)


def test_a_near_copy_under_another_prompt_falls_and_the_earlier_one_stays(tmp_path: Path) -> None:
    copy = changed(LOW, "copy", user_prompt_id="other", user_prompt="Write about a lost umbrella.")
    copy = copy.model_copy(update={"response": words_replaced(LOW.response, 5, 6)})
    half = changed(LOW, "half", response=words_replaced(LOW.response, *range(0, 60, 4)))
    kept, dropped, _ = verified([half, copy, LOW], tmp_path)
    assert kept == ["half", "copy"]
    assert [(row["id"], row["reason"]) for row in dropped] == [(LOW.id, "near_duplicate")]
    assert dropped[0]["detail"].endswith("with in.jsonl:2, id copy")
    assert 0.8 <= float(dropped[0]["detail"].split()[1]) < 1
    assert verified([half, copy, LOW], tmp_path, "--near", 1)[0] == ["half", "copy", LOW.id]
    assert verified([half, copy, LOW, changed(LOW, "same")], tmp_path, "--near", 1)[0] == ["half", "copy", LOW.id]
    assert verified([LOW, changed(LOW, "same")], tmp_path, "--near", 0)[0] == [LOW.id, "same"]


def test_a_row_dropped_for_another_reason_is_no_original(tmp_path: Path) -> None:
    outside = changed(LOW, "outside", level=ScoreLevel.MODERATE)
    kept, dropped, _ = verified([outside, LOW], tmp_path)
    assert (kept, [row["reason"] for row in dropped]) == ([LOW.id], ["out_of_band"])


def controls_of(text: str) -> list[TeacherResponse]:
    return [
        changed(LOW, f"{rubric.id}-control", level="control", rubric=rubric.id, rubric_hash=rubric.hash, response=text)
        for rubric in RUBRICS.values()
    ]


def test_controls_are_judged_have_no_band_and_are_counted_apart(tmp_path: Path) -> None:
    rows = [LOW, *controls_of(LOW.response), changed(LOW, "again", level="control")]
    kept, dropped, numbers = verified(rows, tmp_path)
    assert kept == [LOW.id, *(f"{name}-control" for name in RUBRICS)]
    assert [(row["id"], row["level"], row["reason"]) for row in dropped] == [("again", "control", "near_duplicate")]
    assert numbers["controls"] == {"in": 5, "kept": 4, "dropped_by_reason": {"near_duplicate": 1}}
    found = rows_of(tmp_path / "out" / "responses.jsonl")
    scores = {row["rubric"]: row["judgment"]["score"] for row in found[1:]}
    assert scores == {name: measure(rubric, LOW.response).score for name, rubric in RUBRICS.items()}


def test_keep_all_drops_nothing_for_its_score(tmp_path: Path) -> None:
    wrong = changed(LOW, "wrong", response=HIGH.response)
    kept, dropped, _ = verified([LOW, wrong, changed(LOW, "cut", stop_reason="max_tokens")], tmp_path, "--keep", "all")
    assert (kept, [row["reason"] for row in dropped]) == ([LOW.id, "wrong"], ["truncated"])
    rows = rows_of(tmp_path / "out" / "responses.jsonl")
    assert [row["judgment"]["score"] for row in rows] == [0.0, 100.0]


def cell(rubric: str, level: ScoreLevel, count: int) -> list[TeacherResponse]:
    """Different responses of one rubric and level, as if to one prompt."""
    rows = [row for row in SEED if row.rubric == rubric and row.level is level][:count]
    return [
        row.model_copy(update={"user_prompt_id": rows[0].user_prompt_id, "user_prompt": rows[0].user_prompt})
        for row in rows
    ]


def test_per_cell_keeps_the_first_and_lists_cells_that_stay_short(tmp_path: Path) -> None:
    moderate, low = cell("labyrinth", ScoreLevel.MODERATE, 4), cell("labyrinth", ScoreLevel.LOW, 2)
    gone = changed(moderate[0], "gone", teacher="other", stop_reason="max_tokens")
    copy = changed(moderate[0], "copy")
    kept, dropped, numbers = verified([moderate[0], copy, low[0], *moderate[1:], gone], tmp_path, "--per-cell", 2)
    # the copy takes no place of its cell
    assert kept == [moderate[0].id, low[0].id, moderate[1].id]
    reasons = {row["id"]: row["reason"] for row in dropped}
    assert reasons == {
        "gone": "truncated",
        "copy": "near_duplicate",
        moderate[2].id: "over_per_cell",
        moderate[3].id: "over_per_cell",
    }
    named = {"rubric": "labyrinth", "user_prompt_id": moderate[0].user_prompt_id}
    assert numbers["short_cells"] == [
        named | {"level": "low", "teacher": "unnamed-llm", "kept": 1},
        named | {"level": "moderate", "teacher": "other", "kept": 0},
    ]


@pytest.mark.parametrize(
    ("level", "scores", "best"),
    [
        (ScoreLevel.EXTREMELY_HIGH, [93, 99, 97], 1),
        (ScoreLevel.LOW, [30, 12, 20], 1),
        (ScoreLevel.MODERATE, [90, 41, 66, 67], 2),  # the middle is 66.25
        (ScoreLevel.MODERATE, [65.25, 67.25], 0),  # a tie goes to the first
        (ScoreLevel.MODERATE, [20, 95, 30], 1),  # 20 below, 2.5 above, 10 below
        (ScoreLevel.LOW, [45, 41, 60], 1),
        (ScoreLevel.EXTREMELY_HIGH, [92.6, 90], 0),
        ("control", [0, 100], 0),
    ],
)
def test_what_is_preferred_by_hand(level: Any, scores: list[float], best: int) -> None:
    order = sorted(range(len(scores)), key=lambda number: preference(level, scores[number]))
    assert order[0] == best


def test_best_of_keeps_the_best_of_each_cell_and_the_second_where_the_best_is_a_copy(tmp_path: Path) -> None:
    moderate = cell("labyrinth", ScoreLevel.MODERATE, 6)
    ranked = sorted(moderate, key=lambda row: abs(row.judgment.score - 66.25) if row.judgment else 0)
    kept, dropped, _ = verified(moderate, tmp_path, "--best-of")
    assert kept == [ranked[0].id]
    assert {row["reason"] for row in dropped} == {"not_best"}
    assert {row["detail"] for row in dropped} == {"its cell has 1 kept already"}
    kept, _, _ = verified(moderate, tmp_path, "--best-of", "--per-cell", 3)
    assert sorted(kept) == sorted(row.id for row in ranked[:3])
    assert kept == [row.id for row in moderate if row in ranked[:3]]
    taken = changed(ranked[0], "taken", user_prompt_id="another", teacher="other")
    kept, dropped, numbers = verified([taken, *moderate], tmp_path, "--best-of")
    assert kept == ["taken", ranked[1].id]
    assert {row["id"]: row["reason"] for row in dropped}[ranked[0].id] == "near_duplicate"
    assert numbers["short_cells"] == []


def test_also_by_adds_the_judgments_of_other_rubrics(tmp_path: Path) -> None:
    stale = {"also": {"broadcast": ResponseJudgment(score=1, judge="x", prompt_version="0")}}
    verified(
        [changed(LOW, "a", **stale), changed(HIGH, "b", rubric_hash="0")], tmp_path, "--also-by", "labyrinth,reverie"
    )
    [row] = rows_of(tmp_path / "out" / "responses.jsonl")
    expected = measure(RUBRICS["reverie"], LOW.response).score
    assert row["also"] == {"reverie": {"score": expected, "judge": "measured", "prompt_version": "1"}}


def test_limit_looks_at_the_first_rows_only(tmp_path: Path) -> None:
    kept, _, numbers = verified(SEED, tmp_path, "--limit", 3)
    assert kept == [row.id for row in SEED[:3]]
    assert (numbers["in"], numbers["limit"]) == (3, 3)


def test_prompts_of_another_benchmark_are_looked_for_too(tmp_path: Path) -> None:
    (tmp_path / "bench.txt").write_text(f"{LOW.user_prompt}\n", encoding="utf-8")
    kept, dropped, numbers = verified([LOW, HIGH, SEED[0]], tmp_path, "--benchmark-prompts", tmp_path / "bench.txt")
    same = [row for row in (LOW, HIGH, SEED[0]) if row.user_prompt == LOW.user_prompt]
    assert [row["id"] for row in dropped] == [row.id for row in same]
    assert dropped[0]["detail"] == "its user prompt is the benchmark prompt 'bench.txt bench.txt:1'"
    assert [(file["name"], file["lines"]) for file in numbers["benchmark_files"]] == [("bench.txt", 1)]


def test_bad_rows_are_counted_and_good_ones_survive(tmp_path: Path) -> None:
    good = [json.loads(json_line(row)) for row in SEED[:3]]
    lines: list[Any] = [
        good[0],
        {name: value for name, value in good[1].items() if name != "response"},
        good[1] | {"level": "tiny"},
        good[1] | {"rubric": "sonnet"},
        good[1] | {"rubric_hash": "000000000000"},
        good[0],
        "{not JSON",
        "",
        good[2],
    ]
    path = tmp_path / "in.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")  # no newline at the end
    done = verify(path, tmp_path / "out")
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert (kept, dropped) == ([SEED[0].id, SEED[2].id], [])
    assert (numbers["in"], numbers["bad"]) == (8, 6)  # a blank line is no row
    assert numbers["bad_by_kind"] == {"bad_row": 3, "edited_rubric": 1, "repeated_id": 1, "unknown_rubric": 1}
    assert "8 rows in = 2 kept + 0 dropped + 6 bad" in done.output
    assert "6 bad rows skipped: 3 bad_row, 1 " in done.output
    for message in (
        f"{path}:2: response: Field required",
        f"{path}:3: level.str-enum[ScoreLevel]: Input should be",
        f"{path}:4: rubric is 'sonnet', expected one of",
        f"{path}:5: written for rubric 'broadcast' with hash 000000000000, expected",
        f"{path}:6: id {SEED[0].id!r} stands there twice, expected each id once",
        f"{path}:7: got '{{not JSON\\n', expected a JSON object in one line",
    ):
        assert done.output.count(message) == 1, message


KINDS: dict[str, dict[str, Any]] = {
    "good": {},
    "copy": {"teacher": "other"},
    "cut": {"stop_reason": "max_tokens"},
    "short": {"response": "Too short."},
    "outside": {"level": ScoreLevel.EXTREMELY_HIGH},
    "control": {"level": "control"},
    "unknown": {"rubric": "sonnet"},
    "unmeasured": {"rubric": WARMTH.id, "rubric_hash": WARMTH.hash},
}


@settings(max_examples=12)
@given(
    rows=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 5)), max_size=12),
    options=st.sampled_from([[], ["--best-of"], ["--per-cell", "1"], ["--keep", "all"], ["--near", "0"]]),
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
    assert verify(folder / "in.jsonl", again, *options).exit_code == 0
    assert files(again) == files(folder / "out")


def test_rows_without_a_judge_are_kept_aside_without_a_score(tmp_path: Path) -> None:
    old = ResponseJudgment(score=50, judge="x", prompt_version="0")
    write_jsonl(tmp_path / "in.jsonl", [LOW, changed(UNMEASURED, "aside", judgment=old)])
    done = verify(tmp_path / "in.jsonl", tmp_path / "out")
    _, [dropped], numbers = outputs(tmp_path / "out")
    assert (dropped["score"], numbers["unjudged_by_mode"]) == (None, {"not_measurable": 1})
    [aside] = rows_of(tmp_path / "out" / "unjudged.jsonl")
    assert aside == json.loads(json_line(changed(UNMEASURED, "aside", judgment=None)))
    assert "1 rows have rubrics without measures: judge " in done.output
    verified([LOW], tmp_path)
    assert not (tmp_path / "out" / "unjudged.jsonl").exists()


def verdict(score: int) -> str:
    criteria = [{"id": criterion.id, "reason": "So.", "score": score} for criterion in WARMTH.criteria]
    return json.dumps({"criteria": criteria, "holistic_score": score})


WARM = [
    changed(row, f"warm{number}", rubric=WARMTH.id, rubric_hash=WARMTH.hash, level=ScoreLevel.EXTREMELY_HIGH)
    for number, row in enumerate(SEED[:40:2])
]


def by_model(path: Path, out: Path, store: Path, *options: object) -> Result:
    return verify(path, out, "--judge", DEFAULT_JUDGE, "--store", store, *options)


def test_a_model_judges_each_row_once_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic, tmp_path: Path
) -> None:
    anthropic_server.config = Config(latency_seconds=0.005, latency_sigma=0.5)
    anthropic_server.reply = lambda body: verdict(97 if "storm" in str(body["messages"]) else 50)
    store = tmp_path / "calls.jsonl"
    write_jsonl(tmp_path / "in.jsonl", [*WARM, changed(WARM[0], "cut", stop_reason="max_tokens")])
    done = by_model(tmp_path / "in.jsonl", tmp_path / "out", store, "--max-connections", 4)
    assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == len(WARM) == 20
    assert anthropic_server.stats.peak_in_flight <= 4
    assert (
        f"judge {DEFAULT_JUDGE}: 20 judgments, 0 of them stored or asked twice, 20 calls to send: about " in done.output
    )
    assert f"judge {DEFAULT_JUDGE}: 20 calls sent, " in done.output
    kept, dropped, numbers = outputs(tmp_path / "out")
    assert kept == [row.id for row in WARM if "storm" in row.user_prompt + row.response]
    assert 0 < len(kept) < 20
    assert numbers["dropped_by_reason"] == {"out_of_band": 20 - len(kept), "truncated": 1}
    assert [row["id"] for row in dropped if row["reason"] != "truncated"] == [
        row.id for row in WARM if row.id not in kept
    ]
    assert numbers["judge"]["judge"] == DEFAULT_JUDGE
    assert len(numbers["judge"]["judge_hash"]) == len(numbers["judge"]["prompt_hash"]) == 12
    done = by_model(tmp_path / "in.jsonl", tmp_path / "again", store)
    assert anthropic_server.stats.requests == 20
    assert "20 judgments, 20 of them stored or asked twice, 0 calls to send" in done.output
    assert "0 calls sent, no tokens, 0.00 USD" in done.output
    assert files(tmp_path / "again") == files(tmp_path / "out")


def test_a_judge_that_refuses_leaves_the_row_unjudged_and_never_a_number(
    anthropic_server: FakeAnthropic, tmp_path: Path
) -> None:
    anthropic_server.config = Config(rate_refusal=0.4, seed=11)
    anthropic_server.reply = lambda body: verdict(97)
    write_jsonl(tmp_path / "in.jsonl", WARM)
    done = by_model(tmp_path / "in.jsonl", tmp_path / "out", tmp_path / "calls.jsonl")
    assert done.exit_code == 0, done.output
    kept, dropped, numbers = outputs(tmp_path / "out")
    refused = numbers["unjudged_by_mode"]["refusal"]
    assert numbers["dropped_by_reason"] == {"unjudged": refused}
    assert {(row["score"], row["detail"]) for row in dropped} == {(None, "refusal: stop reason content_filter")}
    aside = rows_of(tmp_path / "out" / "unjudged.jsonl")
    assert 0 < refused < 20
    assert [row["id"] for row in aside] == [row["id"] for row in dropped]
    assert not any("judgment" in row for row in aside)
    anthropic_server.config = Config()
    taken_up = verify(
        tmp_path / "out" / "unjudged.jsonl",
        tmp_path / "rest",
        "--judge",
        DEFAULT_JUDGE,
        "--store",
        tmp_path / "new.jsonl",
    )
    assert taken_up.exit_code == 0, taken_up.output
    assert sorted([*kept, *outputs(tmp_path / "rest")[0]]) == sorted(row.id for row in WARM)


def test_a_further_rubric_that_cannot_judge_leaves_its_entry_out_and_is_counted(
    anthropic_server: FakeAnthropic, tmp_path: Path
) -> None:
    def reply(body: dict[str, Any]) -> str:
        return verdict(97) if "id: affection" in str(body["messages"]) else "no verdict"

    anthropic_server.reply = reply
    write_jsonl(tmp_path / "in.jsonl", WARM[:3])
    done = by_model(
        tmp_path / "in.jsonl", tmp_path / "out", tmp_path / "c.jsonl", "--also-by", "tone_warmth,tone_irony"
    )
    assert done.exit_code == 0, done.output
    kept, _, numbers = outputs(tmp_path / "out")
    assert (len(kept), numbers["also_unjudged"]) == (3, {"tone_irony": 3})
    assert not any("also" in row for row in rows_of(tmp_path / "out" / "responses.jsonl"))
    assert "3 judgments by further rubrics failed and are missing in `also`" in done.output


def test_a_judge_that_is_down_is_one_sentence_and_what_it_answered_is_kept(
    anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("judges.model.MAX_TRANSPORT_RETRIES", 0)
    anthropic_server.config = Config(rate_500=0.5, seed=2)
    anthropic_server.reply = lambda body: verdict(97)
    write_jsonl(tmp_path / "in.jsonl", WARM)
    done = by_model(tmp_path / "in.jsonl", tmp_path / "out", tmp_path / "calls.jsonl", "--max-connections", 1)
    assert done.exit_code == 1
    assert "Error: " in done.output and "the same command goes on from here" in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("out/*"))
    answered = anthropic_server.stats.served.total()
    assert 0 < answered < 20
    anthropic_server.config = Config()
    assert by_model(tmp_path / "in.jsonl", tmp_path / "out", tmp_path / "calls.jsonl").exit_code == 0
    assert anthropic_server.stats.served.total() == 20
    assert anthropic_server.stats.paid_twice == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rubrics", "nonsense"], "rubric 'nonsense' not found, expected one of"),
        (["--near", "0.1"], "near-duplicate threshold: got 0.1, expected a Jaccard from 0.2 to 1"),
        (["--language", "english"], "language: got 'english', expected 'any' or one of"),
        (["--also-by", "tone_warmth"], "rubric 'tone_warmth': criterion 'affection' has no measure"),
        (["--benchmark-prompts", "none.txt"], "none.txt: not found, expected a file of benchmark prompts"),
        (["--judge", "nonsense"], "nonsense"),
        (["none.jsonl"], "none.jsonl: not found, expected a responses file in JSONL"),
        (["--out", "."], "in.jsonl: "),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / ("responses.jsonl" if "--out" in options else "in.jsonl")
    write_jsonl(source, [LOW])
    done = verify(source, tmp_path / "out", *options)
    assert done.exit_code == 1, done.output
    assert (
        message.replace("in.jsonl: ", "responses.jsonl: is read and would be overwritten, expected another")
        in done.output
    )
    assert "Traceback" not in done.output
    assert source.read_text(encoding="utf-8") == json_line(LOW)


@pytest.mark.parametrize(("package", "option"), [("rensa", []), ("py3langid.langid", ["--near", "0"])])
def test_a_missing_package_is_one_sentence(
    package: str, option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_gen.verify.text_filters import _identifier

    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    write_jsonl(tmp_path / "in.jsonl", [LOW])
    done = verify(tmp_path / "in.jsonl", tmp_path / "out", *option)
    assert done.exit_code == 1
    assert "pip install 'cpt-tasks[data]'" in done.output
    without = ["--near", "0", "--language", "any"]
    assert verify(tmp_path / "in.jsonl", tmp_path / "out", *without).exit_code == 0


def test_rows_are_checked_as_they_are_asked_for() -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield LOW

    checks = check_by_measures(endless(), Checks(rubrics=RUBRICS))
    assert next(checks)[1].score == 0.0
    assert len(taken) <= 512
