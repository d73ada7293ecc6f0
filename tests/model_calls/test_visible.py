from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ModelOutput

from model_calls.visible import OPENED, answer_of, visible

CASES = [
    ("no marker, blanks stay\n", "no marker, blanks stay\n", ""),
    ("<think>a b</think>\n\nAnswer", "Answer", "a b"),
    ("<think></think>\nAnswer", "Answer", ""),
    ("<think>\nnever closed", "", "never closed"),
    ("opened in the prompt</think>\nAnswer", "Answer", "opened in the prompt"),
    ("<think>a <think>b</think> c</think>d", "d", "a <think>b</think> c"),
    ('<think signature="x">y</think>z', "z", "y"),
    ("Sure! <think>\nhm\n</think>\nAnswer", "Sure! \nAnswer", "hm"),
    ("First\n<think>x</think>\nmore", "First\n\nmore", "x"),
    ("Write <think> and </think> around it.", "Write <think> and </think> around it.", ""),
    ("<think>a</think>Mind the <think> tag", "Mind the <think> tag", "a"),
    ("<seed:think>x</seed:think>y", "y", "x"),
    ("[THINK]x[/THINK]y", "y", "x"),
    ("◁think▷x◁/think▷y", "y", "x"),
    ("<|START_THINKING|>x<|END_THINKING|>y", "y", "x"),
    ("<|inner_prefix|>x<|inner_suffix|>y", "y", "x"),
    ("<|channel>thought\nx\n<channel|>y", "y", "x"),
    ("<unused94>thought\nx\n<unused95>y", "y", "x"),
    ("<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>y", "y", "x"),
    ("analysisWe need y.assistantfinaly", "y", "We need y."),
]


@pytest.mark.parametrize(("text", "answer", "thought"), CASES)
def test_thoughts_of_every_family_are_taken_off(text: str, answer: str, thought: str) -> None:
    assert visible(text) == (answer, thought)


def test_where_the_prompt_opened_the_thought_a_text_that_never_closes_it_is_all_thought() -> None:
    assert [bool(OPENED.search(prompt)) for prompt in ("Say.<think>\n", "<think>\n\n</think>\n\n", "Say.")] == [1, 0, 0]
    assert visible("cut in the mid", opened=True) == ("", "cut in the mid")
    assert visible("hm</think>\nAnswer", opened=True) == ("Answer", "hm")


@pytest.mark.parametrize("stop", ["content_filter", "model_length", "stop"])
def test_a_refusal_and_an_error_that_inspect_gives_as_an_answer_are_none(stop: Any) -> None:
    output = ModelOutput.from_content("m", "This model's maximum context length is 4096 tokens.", stop_reason=stop)
    assert answer_of(output, {}) == (output.completion if stop == "stop" else "", "")


@given(st.text(st.characters(exclude_characters="<[◁")).filter(lambda text: not text.startswith("analysis")))
def test_a_text_without_markers_comes_back_as_it_is(text: str) -> None:
    assert visible(text) == (text, "")


@given(st.text(st.characters(exclude_characters="<[◁")), st.text(st.characters(exclude_characters="<[◁")))
def test_nothing_of_a_thought_is_left_in_the_answer(thought: str, answer: str) -> None:
    assert visible(f"<think>{thought}</think>{answer}") == (answer.strip(), thought.strip())
