"""Preflight: token columns that would train no condition are refused, on TRL's own tokenisation."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from datasets import Dataset
from tiny_model import CHATML, STYLES, make_rows, make_tokenizer
from training import RecipeError
from training.chat_templates import repair_chat_template
from training.pairs import sft_rows
from training.preflight import PreflightReport, check_dpo, check_sft, tokenise
from training.trainer import CPTConfig
from trl import SFTConfig

# As Mistral-Nemo, 7B-v0.3 and Small-2409 do it: system text only when the user's turn is the last one.
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
    "{%- set user_messages = loop_messages | selectattr('role', 'equalto', 'user') | list %}{{- bos_token }}"
    "{%- for message in loop_messages %}{%- if message['role'] == 'user' %}"
    "{%- if loop.last and system_message is defined %}"
    "{{- '[INST]' + system_message + '\n\n' + message['content'] + '[/INST]' }}"
    "{%- else %}{{- '[INST]' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
# As Gemma does it.
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
IGNORES_SYSTEM = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
NO_END_OF_TURN = CHATML.replace("message['content'] + '<|im_end|>' + '\n'", "message['content'] + '\n'")
DOUBLE_BOS = "{{ bos_token }}" + CHATML


def preflight(tokenizer: Any, rows: list[dict[str, Any]], stage: str, tmp_path: Path, max_length: int = 256) -> Any:
    options = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    dataset = Dataset.from_list(rows)
    if stage == "dpo":
        tokens = tokenise("DPO", dataset, tokenizer, CPTConfig(max_length=max_length, **options))
        return check_dpo(tokens, tokenizer, max_length, len(dataset))
    tokens = tokenise("SFT", sft_rows(dataset), tokenizer, SFTConfig(max_length=max_length, **options))
    return check_sft(tokens, tokenizer, max_length, len(dataset))


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_sound_template_passes_and_is_counted(tmp_path: Path, stage: str) -> None:
    report: PreflightReport = preflight(make_tokenizer(), make_rows(3), stage, tmp_path)
    assert (report.errors, report.warnings) == ((), ())
    assert (report.rows, report.dropped, report.truncated, report.orphaned) == (6, 0, 0, 0)
    assert report.twins == (3 if stage == "dpo" else 0)
    assert 0 < report.median_tokens <= report.max_tokens < 256


@pytest.mark.parametrize("stage", ["dpo", "sft"])
@pytest.mark.parametrize(
    ("template", "message"),
    [
        (MISTRAL, "the chat template drops the system prompt, so that both rows of a twin train on one prompt"),
        (IGNORES_SYSTEM, "the chat template drops the system prompt"),
        (NO_END_OF_TURN, "response does not end in the end-of-turn token"),
        (DOUBLE_BOS, "the prompt begins with two BOS tokens"),
    ],
    ids=["mistral", "ignores system", "no end of turn", "double bos"],
)
def test_bad_template_is_an_error_of_every_row(tmp_path: Path, stage: str, template: str, message: str) -> None:
    report = preflight(make_tokenizer(template), make_rows(2), stage, tmp_path)
    assert f"{stage.upper()} preflight: row 0: " in report.errors[0]
    assert message in report.errors[0]
    assert "(4 of 4 rows)" in report.errors[0]


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_template_that_refuses_a_system_turn_is_named(tmp_path: Path, stage: str) -> None:
    with pytest.raises(RecipeError, match="chat template: refuses .*System role not supported"):
        preflight(make_tokenizer(REFUSES_SYSTEM), make_rows(2), stage, tmp_path)


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_repaired_mistral_template_passes(tmp_path: Path, stage: str) -> None:
    tokenizer = make_tokenizer(MISTRAL)
    assert repair_chat_template(tokenizer)
    assert preflight(tokenizer, make_rows(2), stage, tmp_path).errors == ()


@pytest.mark.parametrize("system", [True, False], ids=["system turn", "no system turn"])
def test_repair_leaves_inference_as_it_was(system: bool) -> None:
    messages = make_rows(1)[0]["prompt"][0 if system else 1 :]
    tokenizer = make_tokenizer(MISTRAL)
    before = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert repair_chat_template(tokenizer)
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == before
    assert (STYLES["low"] in before) is system


def test_other_templates_are_not_touched() -> None:
    tokenizer = make_tokenizer()
    assert not repair_chat_template(tokenizer)
    assert tokenizer.chat_template == CHATML


def test_twins_that_share_a_prompt_are_refused(tmp_path: Path) -> None:
    rows = make_rows(2)
    rows[1]["prompt"] = rows[0]["prompt"]
    report = preflight(make_tokenizer(), rows, "dpo", tmp_path)
    assert "both rows of a twin have one prompt" in report.errors[0]
    assert "(1 of 4 rows)" in report.errors[0]


def test_long_rows_are_counted_as_dropped_orphaned_and_truncated(tmp_path: Path) -> None:
    rows = make_rows(2)
    rows[0]["prompt"][0]["content"] += " Stay plain." * 40
    report = preflight(make_tokenizer(), rows, "dpo", tmp_path, max_length=60)
    assert (report.dropped, report.orphaned, report.rows) == (1, 1, 3)
    assert report.truncated == 2
    assert "row 0: its twin is dropped, with a prompt of max_length=60 or more; drop both (1 of 3" in report.errors[0]
    assert [warning.split(":")[1] for warning in report.warnings] == [
        " 1 of 4 rows are dropped, their prompt fills max_length; max_length is 60 tokens",
        " 2 of 4 rows lose their end; max_length is 60 tokens",
    ]


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_max_length_that_drops_everything_is_an_error(tmp_path: Path, stage: str) -> None:
    report = preflight(make_tokenizer(), make_rows(2), stage, tmp_path, max_length=4)
    assert report.errors == (f"{stage.upper()} preflight: all 4 rows have prompts of max_length=4 or more",)


def test_loss_that_skips_part_of_the_completion_is_refused(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    config = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    tokens = tokenise("SFT", sft_rows(Dataset.from_list(make_rows(1))), tokenizer, config)
    holed = tokens.map(lambda row: {"labels": [*row["labels"][:-3], -100, *row["labels"][-2:]]})
    assert "the loss leaves out part of the completion" in check_sft(holed, tokenizer, 256, 2).errors[0]
