"""Thoughts, white space, control tokens, encodings and odd characters on the way from a reply to a twin."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import read_rows as rows_of
from command_runs import succeeds
from hypothesis import given, settings
from hypothesis import strategies as st
from seed import LABYRINTH, RUBRICS, SEED_FILE

from data_gen.responses import TeacherResponse
from data_gen.twins.command import twins_command
from data_gen.verify.checks import Checks, check_rows
from data_gen.verify.command import verify_command
from data_gen.verify.contamination import Contamination
from judges import JudgeFailure, Judgment
from model_calls.visible import visible
from rubrics import Rubric
from rubrics.files import json_line, write_jsonl
from rubrics.texts import control_token

THOUGHT = "The reader wants something plain, so I will count short sentences.\n" * 15


@pytest.mark.parametrize("before", ["<think>{}</think>\n\n", "{}</think>", " \n[THINK]{}[/THINK]"])
def test_the_visible_answer_is_what_is_judged_and_kept_and_the_words_of_the_thought_are_counted(
    before: str, tmp_path: Path
) -> None:
    raw = [json.loads(json_line(row)) for row in LABYRINTH]
    rows = [row | {"response": f"{before.format(THOUGHT)}{row['response']}\n "} for row in raw]
    write_jsonl(tmp_path / "in.jsonl", rows)
    assert "72 rows in = 72 kept + 0 dropped + 0 bad" in succeeds(
        verify_command, tmp_path / "in.jsonl", "--out", tmp_path / "out"
    )
    assert rows_of(tmp_path / "out" / "responses.jsonl") == [row | {"thought_words": 165} for row in raw]
    for name, source in (("plain", SEED_FILE), ("thoughts", tmp_path / "in.jsonl")):
        succeeds(twins_command, "--responses", source, "--rubrics", "labyrinth", "--out", tmp_path / name)
    for name in ("train.jsonl", "eval.jsonl"):
        assert (tmp_path / "thoughts" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_row_that_is_all_thought_is_too_short_and_nothing_of_it_is_judged(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", [LABYRINTH[0].model_copy(update={"response": f"<think>{THOUGHT}"})])
    succeeds(verify_command, tmp_path / "in.jsonl", "--out", tmp_path / "out")
    [dropped] = rows_of(tmp_path / "out" / "dropped.jsonl")
    assert (dropped["reason"], dropped["detail"]) == ("too_short", "0 words, expected 15 or more")


class Quoting:
    """A judge that fails with a piece of its reply, in which an emoji is cut in two."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str, picture: Any = None) -> Judgment:
        raise JudgeFailure("malformed_json", "got 'Good \ud83d'")


def test_what_a_judge_said_may_hold_half_a_character() -> None:
    checks = Checks(RUBRICS, {}, "", False, 0.0, Contamination({}))
    frame = check_rows(LABYRINTH[:1], checks, Quoting(), 1, lambda _: None)
    assert frame[["outcome", "detail"]].to_numpy().tolist() == [["unjudged", "malformed_json: got 'Good \ufffd'"]]
    assert frame["score"].isna().all()


MARKS = ["<think>", "</think>", "<thinking>", "analysis", "<|im_end|>", "</s>", "[INST]", "<b>", "\ud83d", "\ude00"]
MARKS += ["\x00", "\ufeff", "\ufffd", "\u2028", "\r\n", "\n\n", "\u200b", "\\", '"', "{", "I cannot help with that. "]
ODD = st.lists(st.one_of(st.text(st.characters(), max_size=8), st.sampled_from(MARKS)), max_size=5).map("".join)
LOW, HIGH = LABYRINTH[0], LABYRINTH[2]
GOOD = [row.model_copy(update={"id": f"good{number}"}) for number, row in enumerate(LABYRINTH[3:9])]


def chain(rows: list[TeacherResponse], folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows that are verified, and rows of twins."""
    write_jsonl(folder / "in.jsonl", rows)
    output = succeeds(verify_command, folder / "in.jsonl", "--out", folder / "out", "--near", 0, "--language", "any")
    assert f"{len(rows)} rows in = " in output and "+ 0 bad" in output
    succeeds(
        twins_command, "--responses", folder / "out" / "responses.jsonl", "--eval-prompts", 0, "--out", folder / "twins"
    )
    return rows_of(folder / "out" / "responses.jsonl"), rows_of(folder / "twins" / "train.jsonl")


@settings(max_examples=6)
@given(odd=st.lists(st.tuples(ODD, ODD, ODD), min_size=1, max_size=4))
def test_any_text_goes_from_response_to_twin_and_changes_no_other_row(
    odd: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    rows = list(GOOD)
    for number, (user_prompt, before, after) in enumerate(odd):
        about = {"user_prompt_id": f"odd{number}", "user_prompt": user_prompt}
        for row in (LOW, HIGH):
            text = {"id": f"{row.level}{number}", "response": before + row.response + after}
            rows.append(row.model_copy(update=about | text))
    kept, twins = chain(rows, folder)
    good = [json.loads(json_line(row)) for row in GOOD]
    assert kept[: len(good)] == good
    texts = {row.user_prompt: set[str]() for row in GOOD}
    for row in twins:
        told = row["prompt"][1]["content"], row["chosen"][0]["content"]
        texts.setdefault(told[0], set()).add(told[1])
        assert "".join(told).encode() and not control_token(" ".join(told))
        assert (told[1], "") == visible(told[1]) and told[1] == told[1].strip()
    for row in GOOD:
        assert row.response in texts[row.user_prompt]
