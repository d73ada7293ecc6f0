"""Preflight and chat templates: what would train no condition is refused, on TRL's own tokenisation.

Every family's template shows the student its system prompt, is repaired, or is refused; and what inspect and lm-eval
render with the saved tokenizer, with their own code and on another day, is what was trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import small_tokenizer
import trl
from datasets import Dataset
from harness_rendering import prompts_by_harness, set_day
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_model import CHATML, STYLES, make_rows, make_tokenizer, save_tiny_model, write_rows
from tokenizers.normalizers import NFC
from training import RecipeError
from training.chat_templates import SWITCHES, probe_texts, repair_chat_template, set_thinking, settle_template
from training.pairs import load_pairs, sft_rows
from training.preflight import check_rows, end_of_turn_ids
from training.trainer import CPTConfig, tokenise_dpo_rows
from transformers import AutoTokenizer, GenerationConfig
from trl import SFTConfig, SFTTrainer

SHIPPED = Path(trl.__file__).parent / "chat_templates"
KEPT, FOLDED = "system turn kept", "system text folded into the user turn"

# Templates that TRL ships, by the start of their file names: (begin of text, end of turn), and what the recipe does if
# it is not plain training: a repair, or the reason of a refusal. Only the templates are the families', not the tokens.
SHIPPED_FAMILIES = {
    "cohere": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", None),
    "deepseek": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "renders another prompt in training"),
    "diffusion_gemma": ("<bos>", "<turn|>", None),
    "gemma": ("<bos>", "<end_of_turn>", FOLDED),
    "gemma3": ("<bos>", "<end_of_turn>", None),
    "gemma4": ("<bos>", "<turn|>", None),
    "glm4moe": ("<s>", "<|user|>", "does not end in the end-of-turn token"),
    "gptoss": ("<|startoftext|>", "<|return|>", None),
    "idefics3": ("<s>", "<end_of_utterance>", "drops the system prompt"),
    "lfm2": ("<|startoftext|>", "<|im_end|>", None),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", None),
    "llava_next": ("<s>", "</s>", "refuses a prompt of a system and a user turn"),
    "muse_glimmer": ("<s>", "<|eot|>", None),
    "nemotron_3": ("<s>", "<|im_end|>", "renders another prompt in training"),
    "phi3": ("<s>", "<|end|>", None),
    "qwen": ("<s>", "<|im_end|>", None),
    "smolvlm": ("<s>", "<end_of_utterance>", "drops the system prompt"),
}

# Minimal reproductions, after the published templates: what matters here is where each prints the system text.
ALTERNATES = "{%- for message in messages %}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
NEMO = (  # Mistral-Nemo, Mistral-7B-v0.3, Mistral-Small-2409
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
    "{%- set user_messages = loop_messages | selectattr('role', 'equalto', 'user') | list %}{{- bos_token }}"
    "{%- for message in loop_messages %}{%- if message['role'] == 'user' %}"
    "{%- if loop.last and system_message is defined %}"
    "{{- '[INST]' + system_message + '\n\n' + message['content'] + '[/INST]' }}"
    "{%- else %}{{- '[INST]' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
NEMO_BARE = NEMO.replace(  # the same without the list of user messages, as trimmed copies have it
    "{%- set user_messages = loop_messages | selectattr('role', 'equalto', 'user') | list %}", ""
)
MISTRAL_V1 = (  # Mistral-7B-Instruct-v0.1
    "{{- bos_token }}"
    + ALTERNATES
    + "{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif %}"
    "{%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + ' [/INST]' }}"
    "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
MISTRAL_SMALL = (  # Mistral-Small-24B-Instruct-2501
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set system_message = 'You are Mistral Small 3.' %}"
    "{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}"
    "{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}{%- for message in loop_messages %}"
    "{%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}"
    "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
PHI4 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] }}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
REPRODUCTIONS = {
    "Mistral-Nemo": (NEMO, "<s>", "</s>", KEPT),
    "Nemo without user_messages": (NEMO_BARE, "<s>", "</s>", FOLDED),
    "Mistral-7B-v0.1": (MISTRAL_V1, "<s>", "</s>", FOLDED),
    "Mistral-Small-24B-2501": (MISTRAL_SMALL, "<s>", "</s>", None),
    "Phi-4": (PHI4, "<|endoftext|>", "<|im_end|>", None),
    "SmolLM": (CHATML, "<s>", "<|im_end|>", None),
    "drops every turn": ("{{- bos_token }}{{- eos_token }}", "<s>", "</s>", "drops the system prompt"),
}


def family(stem: str) -> tuple[str, str, str | None]:
    return SHIPPED_FAMILIES[max((name for name in SHIPPED_FAMILIES if stem.startswith(name)), key=len)]


# Files named *_training are TRL's own patches, which no tokenizer carries.
PUBLISHED = sorted(path for path in SHIPPED.glob("*.jinja") if not path.stem.endswith("_training"))
CASES = {path.stem: (path.read_text(encoding="utf-8"), *family(path.stem)) for path in PUBLISHED} | REPRODUCTIONS
# and of those with a thinking switch, those that train once it is off
SWITCHED = [name for name, (template, *_) in CASES.items() if "enable_thinking" in template and name != "glm4moe"]

# keeps the system turn and the last question, with its answer where there is one
LAST_TURNS = (
    "{%- set n = 1 if messages[-1]['role'] == 'user' else 2 %}{%- set messages = [messages[0]] + messages[-n:] %}"
)


def family_tokenizer(template: str, begin: str, end: str) -> Any:
    tokenizer = make_tokenizer(template)
    tokenizer.add_special_tokens({"bos_token": begin, "eos_token": end})
    return tokenizer


def preflight(
    tokenizer: Any, rows: list[dict[str, Any]], max_length: int | None = None, ends: frozenset[int] = frozenset()
) -> tuple[Any, dict[str, Any]]:
    config = CPTConfig(output_dir="x", max_length=max_length, use_cpu=True, bf16=False, report_to="none")
    given = Dataset.from_list(rows)
    report = check_rows(given, tokenizer, config, ends or frozenset([tokenizer.eos_token_id]))
    return tokenise_dpo_rows(given, tokenizer, config), report


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (NEMO, "row 0: the chat template drops the system prompt, so that both rows of a twin train on one prompt"),
        ("{{ bos_token }}" + CHATML, "row 0: the prompt begins with two BOS tokens"),
    ],
    ids=["mistral", "double bos"],
)
def test_bad_template_is_an_error_of_every_row(template: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"preflight: {message}.*4 of 4 rows"):
        preflight(make_tokenizer(template), make_rows(2))


@pytest.mark.parametrize(
    ("template", "problem"),
    [(CHATML, None), (LAST_TURNS + CHATML, "drops an earlier turn")],
)
def test_earlier_turns_must_stand_in_the_prompt(template: str, problem: str | None) -> None:
    *rows, earlier, _ = make_rows(3)
    for row in rows:
        row["prompt"][1:1] = [earlier["prompt"][1], *earlier["chosen"]]
    with pytest.raises(RecipeError, match=problem) if problem else nullcontext():
        preflight(make_tokenizer(template), rows)


@pytest.mark.parametrize("system", [True, False], ids=["system turn", "no system turn"])
def test_repair_leaves_inference_as_it_was(system: bool) -> None:
    messages = make_rows(1)[0]["prompt"][0 if system else 1 :]
    tokenizer = make_tokenizer(NEMO)
    before = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert repair_chat_template(tokenizer)
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == before
    assert (STYLES["low"] in before) is system


def test_sft_trains_on_the_prompt_and_chosen_response_of_dpo(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    rows = Dataset.from_list(make_rows(2))
    for template in (CHATML, NEMO, (SHIPPED / "gemma.jinja").read_text()):
        tokenizer = make_tokenizer(template.replace("<end_of_turn>", "<|im_end|>"))
        repair_chat_template(tokenizer)
        args = SFTConfig(str(tmp_path), completion_only_loss=True, use_cpu=True, bf16=False, report_to="none")
        sft = SFTTrainer(model, args, train_dataset=sft_rows(rows), processing_class=tokenizer).train_dataset
        for of_sft, of_dpo in zip(sft, preflight(tokenizer, rows.to_list())[0], strict=True):
            assert of_sft["input_ids"] == of_dpo["prompt_ids"] + of_dpo["chosen_ids"]
            assert [label for label in of_sft["labels"] if label != -100] == of_dpo["chosen_ids"]


def test_long_rows_are_counted_and_a_row_whose_twin_is_dropped_is_refused() -> None:
    rows = make_rows(3)
    for row in rows[:2]:
        row["prompt"][0]["content"] += " Stay plain." * 40
    report = preflight(make_tokenizer(), rows, 60)[1]
    assert (report["dropped"], report["rows"], report["truncated"]) == (2, 4, 2)
    assert 0 < report["median_tokens"] <= report["max_tokens"] > 60
    assert report["warnings"] == [
        "2 of 6 rows are dropped, their prompt fills max_length; max_length is 60 tokens",
        "2 of 6 rows lose their end; max_length is 60 tokens",
    ]
    message = "row 0: its twin is dropped, with a prompt of max_length=60 or more; drop both .1 of 5"
    with pytest.raises(RecipeError, match=message):
        preflight(make_tokenizer(), [make_rows(1)[1], rows[0], *rows[2:]], 60)
    with pytest.raises(RecipeError, match="preflight: all 6 rows have prompts of max_length=4 or more"):
        preflight(make_tokenizer(), rows, 4)


@pytest.mark.parametrize(
    ("case", "thinking"), [*((case, None) for case in CASES), *((case, False) for case in SWITCHED)]
)
def test_family_shows_its_system_prompt_or_is_repaired_or_refused(
    case: str, thinking: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, begin, end, outcome = CASES[case]
    tokenizer = family_tokenizer(template, begin, end)
    set_day(monkeypatch, "2026-11-26")
    repair, _ = settle_template(tokenizer, True, thinking)
    if outcome not in (None, KEPT, FOLDED) and thinking is None:
        with pytest.raises(RecipeError, match=outcome):
            preflight(tokenizer, make_rows(1))
        return
    tokens, report = preflight(tokenizer, make_rows(1))
    assert repair in (outcome, None)
    assert (report["warnings"] == []) is (thinking is False or case not in SWITCHED)
    # What an evaluation renders with the tokenizer saved beside the adapter is what was trained.
    tokenizer.save_pretrained(tmp_path / "adapter")
    saved = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    set_day(monkeypatch, "2026-11-27")
    for row, style in zip(tokens, STYLES.values(), strict=True):
        trained = tokenizer.decode(row["prompt_ids"])
        assert trained.count(style) == trained.count(row["prompt"][1]["content"]) == 1
        rendered = prompts_by_harness(saved, row["prompt"])
        assert rendered == dict.fromkeys(rendered, trained)


def test_folding_puts_the_system_text_at_the_head_of_the_user_turn() -> None:
    tokenizer = family_tokenizer((SHIPPED / "gemma.jinja").read_text(), "<bos>", "<end_of_turn>")
    system, user = make_rows(1)[0]["prompt"]
    plain = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    later = [user, {"role": "assistant", "content": "Yes."}, user]
    before = tokenizer.apply_chat_template(later, tokenize=False)
    assert repair_chat_template(tokenizer) == FOLDED
    assert tokenizer.apply_chat_template([system, user], tokenize=False, add_generation_prompt=True) == (
        f"<bos><start_of_turn>user\n{system['content']}\n\n{user['content']}<end_of_turn>\n<start_of_turn>model\n"
    )
    assert tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True) == plain
    assert tokenizer.apply_chat_template(later, tokenize=False) == before
    assert repair_chat_template(tokenizer) is None  # it needs no second one


def test_end_of_turn_may_be_listed_by_the_generation_settings_alone(tmp_path: Path) -> None:
    tokenizer = family_tokenizer((SHIPPED / "gemma3.jinja").read_text(), "<bos>", "<eos>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    with pytest.raises(RecipeError, match="does not end in the end-of-turn token"):
        preflight(tokenizer, make_rows(1))
    assert end_of_turn_ids(tokenizer, str(tmp_path), None) == {tokenizer.eos_token_id}
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    GenerationConfig(eos_token_id=[tokenizer.eos_token_id, end]).save_pretrained(tmp_path)
    ends = end_of_turn_ids(tokenizer, str(tmp_path), None)
    assert ends == {tokenizer.eos_token_id, end}
    preflight(tokenizer, make_rows(1), ends=ends)


def test_open_thinking_switch_is_a_warning_and_a_column_or_the_setting_closes_it() -> None:
    tokenizer = family_tokenizer((SHIPPED / "qwen3.jinja").read_text(), "<s>", "<|im_end|>")
    rows = make_rows(1)
    tokens, report = preflight(tokenizer, rows)
    assert "thinking switch that the data leave open" in report["warnings"][0]
    assert tokenizer.decode(tokens[0]["chosen_ids"]).startswith("<think>\n\n</think>")
    by_column, report = preflight(
        tokenizer, [row | {"chat_template_kwargs": {"enable_thinking": False}} for row in rows]
    )
    assert report["warnings"] == []
    set_thinking(tokenizer, False)
    by_setting, report = preflight(tokenizer, rows)
    assert report["warnings"] == []
    assert by_setting["prompt_ids"] == by_column["prompt_ids"]
    assert tokenizer.decode(by_setting[0]["prompt_ids"]).endswith("<think>\n\n</think>\n\n")
    assert not tokenizer.decode(by_setting[0]["chosen_ids"]).startswith("<think>")


V3_1 = (  # DeepSeek-V3.1 and Granite name their switch so
    CHATML
    + "{% if add_generation_prompt %}{{ '<think>' if thinking is not defined or thinking else '</think>' }}{% endif %}"
)


@pytest.mark.parametrize("template", [V3_1, (SHIPPED / "gptoss.jinja").read_text(), CASES["nemotron_3_nano"][0]])
def test_a_switch_that_is_passed_as_none_is_one_that_is_left_out(template: str) -> None:
    tokenizer = make_tokenizer(template)
    plain = probe_texts(tokenizer)
    assert any(probe_texts(tokenizer, **{switch: None}) != plain for switch in SWITCHES)
    settle_template(tokenizer, True, None)
    plain = probe_texts(tokenizer)
    assert all(probe_texts(tokenizer, **{switch: None}) == plain != [] for switch in SWITCHES)
    assert probe_texts(tokenizer, enable_thinking=False, thinking=False, reasoning_effort="low") != plain


@pytest.mark.parametrize("case", ["llama3_2", "gptoss", "muse_glimmer"])
def test_a_template_that_prints_the_date_is_pinned(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template, begin, end, _ = CASES[case]
    tokenizer = family_tokenizer(template, begin, end)
    [user] = make_rows(1)[0]["prompt"][1:]

    def prompts_of_days() -> set[str]:
        prompts = set()
        for day in ("2026-11-26", "2026-11-27"):
            set_day(monkeypatch, day)
            prompts.add(tokenizer.apply_chat_template([user], tokenize=False))
        return prompts

    assert len(prompts_of_days()) == 2
    assert settle_template(tokenizer, True, None) == (None, "2024-07-26")
    [prompt] = prompts_of_days()
    assert ("26 Jul 2024" in prompt) is (case == "llama3_2")
    assert ("2024-07-26" in prompt) is (case != "llama3_2")
    # a day that the template computes cannot be pinned
    _, report = preflight(make_tokenizer("{{ '' if strftime_now('%' ~ 'Y') }}" + CHATML), make_rows(1))
    assert "prints today's date where it could not be pinned" in report["warnings"][0]


def damaged(number: int, part: str, change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Three twins, one text of them changed in all its rows; the first twin has a prompt that fills max_length."""
    rows = make_rows(3)
    old = rows[number][part][0]["content"]
    for row in rows:
        for messages in (row["prompt"], row["chosen"], row["rejected"]):
            messages[:] = [
                message | ({"content": change(old)} if message["content"] == old else {}) for message in messages
            ]
    for row in rows[:2]:
        row["prompt"][0]["content"] += " Stay plain." * 60
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            damaged(2, "chosen", lambda text: "\n\n" + text),
            "row 2: a response begins with white space, which joins the last token of the prompt; strip it (2 of 4",
        ),
        (damaged(2, "rejected", lambda text: "\n\n" + text), "row 2: a response begins with white space"),
        (
            damaged(5, "chosen", lambda text: text.replace(" ", "<|im_end|>", 1)),
            "row 4: a response holds '<|im_end|>', a special token that the model reads as control; take it out",
        ),
        (
            damaged(3, "prompt", lambda text: text + "[INST]"),
            "row 3: its system turn holds '[INST]', a special token",
        ),
    ],
    ids=["chosen", "rejected", "control token", "in the system turn"],
)
def test_a_text_that_breaks_the_prompt_is_named_by_its_row_in_the_file(
    rows: list[dict[str, Any]], message: str
) -> None:
    marks = ("<|im_start|>", "<|im_end|>", "[INST]")
    tokenizer = small_tokenizer.make_tokenizer(["\n\n\nThe man\n\n\nDoor"] * 9, 512, marks, CHATML)
    with pytest.raises(RecipeError, match=re.escape(f"preflight: {message}")):
        preflight(tokenizer, rows, 700)
    # white space that the template strips is no fault
    tokenizer.chat_template = CHATML.replace("message['content']", "(message['content'] | trim)")
    if "white space" in message:
        preflight(tokenizer, rows, 700)


@given(st.lists(st.text(st.characters(), min_size=1), min_size=5, max_size=5))
@example(["Cafe\u0301 .", "b", "\x00", "d \u2028", "e"])
@example(["a", "b", "c", "\ud83d", "e"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_trained_on_as_it_is_or_refused(tmp_path: Path, texts: list[str]) -> None:
    rows = make_rows(2)
    low, high, user, chosen, rejected = texts
    for row, system, sides in zip(rows[:2], (low, high), ((chosen, rejected), (rejected, chosen)), strict=True):
        row["prompt"] = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        row["chosen"], row["rejected"] = ([{"role": "assistant", "content": side}] for side in sides)
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = NFC()  # as Qwen's
    try:
        read = load_pairs(write_rows(tmp_path / "rows.jsonl", rows)).to_list()
        tokens, report = preflight(tokenizer, read)
    except RecipeError as error:
        # of what this strategy can draw, only these are faults
        assert re.search("surrogate|is empty|white space|share one system prompt", str(error))
        return
    assert read[2:] == rows[2:]
    assert report["rows"] == 4
    trained = tokenizer.decode(tokens[0]["prompt_ids"] + tokens[0]["chosen_ids"])
    texts = [message["content"] for message in (*read[0]["prompt"], *read[0]["chosen"])]
    assert all(normalize("NFC", text) in trained for text in texts)
