"""Vision-language students: what the preflight refuses, and a whole run on tiny random models of two families."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from recipe_runs import go, parse, read_json
from safetensors.torch import load_file
from tiny_model import save_tiny_model, write_rows
from tiny_vision import GEMMA3, IDEFICS3, picture_rows, qwen_processor, save_gemma3, save_idefics3
from training import RecipeError
from training.chat_templates import settle_template
from training.plan import Plan, run_preflight
from training.preflight import check_rows
from training.trainer import TwinDPOTrainer
from trl import DPOTrainer

from cpt_tasks.check_adapter import check_adapter

FAMILIES = {"idefics3": save_idefics3, "gemma3": save_gemma3}
MODULES = {
    "idefics3": r".*text_model.*\.(q_proj|v_proj)",
    "gemma3": r".*language_model.*\.(q_proj|v_proj)",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and files that the settings of `recipe_runs` name."""
    folder = tmp_path_factory.mktemp("vision")
    for family, save in FAMILIES.items():
        save(folder / family)
    write_rows(folder / "train.jsonl", picture_rows(4))
    write_rows(folder / "eval.jsonl", picture_rows(2, start=8))
    return folder


def plan_of(family: str, **changes: Any) -> Plan:
    return Plan(*parse(model_name_or_path=family, sft_epochs=0, lora_target_modules=[MODULES[family]], **changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_system_turn_and_image_reach_the_tokens_of_training_as_at_inference(family: str, here: Path) -> None:
    plan = plan_of(family)
    assert (plan.repair, plan.template_date) == (None, None)
    reports = run_preflight(plan)
    assert {kind: (report["rows"], report["warnings"]) for kind, report in reports.items()} == {
        "train": (8, []),
        "eval": (4, []),
    }


def test_the_rows_of_qwen2_5_vl_pass_too(here: Path) -> None:
    processor = qwen_processor()
    assert settle_template(processor, True, None) == (None, None)
    rows, ends = Dataset.from_list(picture_rows(2)), frozenset([processor.tokenizer.eos_token_id])
    assert check_rows(rows, processor, plan_of("idefics3").dpo, ends)["rows"] == 4
    processor.chat_template = processor.chat_template.replace("{{ content['text'] }}", "")
    with pytest.raises(RecipeError, match="drops the system prompt"):
        check_rows(rows, processor, plan_of("idefics3").dpo, ends)


@pytest.mark.parametrize(
    ("save", "template", "said"),
    [
        (save_idefics3, IDEFICS3.replace("{{ '<image>' }}", ""), "refuses its images"),
        (save_gemma3, GEMMA3.replace("{{ '<start_of_image>' }}", ""), "refuses its images|drops the image"),
        (save_gemma3, GEMMA3.replace('(first_user_prefix if loop.first else "")', '""'), "drops the system prompt"),
        (save_idefics3, IDEFICS3.replace("<end_of_utterance>", ""), "does not end in the end-of-turn token"),
    ],
)
def test_a_template_that_loses_something_is_refused(
    save: Callable[[Path, str], None], template: str, said: str, here: Path
) -> None:
    family = save.__name__.removeprefix("save_")
    save(here / "broken", template)
    (here / "broken" / "chat_template.jinja").write_text(template, encoding="utf-8")
    script, dpo, model = parse(model_name_or_path="broken", sft_epochs=0, lora_target_modules=[MODULES[family]])
    with pytest.raises(RecipeError, match=said):
        run_preflight(Plan(script, dpo, model))


def test_an_image_that_max_length_would_cut_and_a_text_model_are_refused(here: Path) -> None:
    with pytest.raises(RecipeError, match=re.escape("its prompt with the image fills max_length=24; raise it")):
        run_preflight(plan_of("idefics3", max_length=24))
    save_tiny_model(here / "tiny")
    with pytest.raises(RecipeError, match="tiny: reads texts only, expected a vision-language model"):
        Plan(*parse(model_name_or_path="tiny"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": []}, "images are 0, expected 1, as many as the prompt has parts of type image"),
        ({"images": ["data:image/png;base64,AAAA"]}, "its two rows have different user prompts"),
    ],
)
def test_a_row_without_its_image_and_a_twin_about_two_are_refused(
    change: dict[str, Any], said: str, here: Path
) -> None:
    rows = picture_rows(1)
    rows[0] |= change
    write_rows(here / "bad.jsonl", rows)
    with pytest.raises(RecipeError, match=said):
        plan_of("idefics3", train_file="bad.jsonl")


def test_the_log_probabilities_are_trls_own_and_depend_on_the_image(here: Path) -> None:
    plan = plan_of("idefics3", eval_strategy="no")
    other = [row | {"images": picture_rows(1, start=3)[0]["images"]} for row in plan.evaluation.to_list()]  # type: ignore[union-attr]

    def logps(kind: Any, rows: Any) -> float:
        torch.manual_seed(0)
        adapter = LoraConfig(r=4, target_modules=MODULES["idefics3"], task_type="CAUSAL_LM")
        trainer = kind(
            model="idefics3",
            args=plan.dpo,
            train_dataset=plan.train,
            eval_dataset=rows,
            processing_class=plan.tokenizer,
            peft_config=adapter,
        )
        return float(trainer.evaluate()["eval_logps/chosen"])

    ours = logps(TwinDPOTrainer, plan.evaluation)
    assert ours == pytest.approx(logps(DPOTrainer, plan.evaluation), rel=1e-5)
    assert ours != logps(TwinDPOTrainer, Dataset.from_list(other))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_both_stages_train_the_language_model_and_leave_a_processor(family: str, here: Path) -> None:
    out = f"out-{family}"
    options = {"sample_prompts": 2, "sample_tokens": 4, "output_dir": out}
    go(model_name_or_path=family, lora_target_modules=[MODULES[family]], **options)
    manifest = read_json(f"{out}/run_manifest.json")
    assert manifest["steps"] == {"sft": 2, "dpo": 2}
    assert "eval_twins/both_correct" in manifest["metrics"]["dpo"]
    weights = load_file(here / out / "adapter_model.safetensors")
    assert all("layers" in name and "vision" not in name for name in weights)
    assert any(weight.abs().sum() > 0 for name, weight in weights.items() if "lora_B" in name)
    assert (here / out / "processor_config.json").is_file()
    samples = [json.loads(line) for line in (here / out / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {len(sample["prompt"]) for sample in samples} == {2}
    assert check_adapter(Path(out), None, skip_logits=False)


def test_a_settled_template_is_that_of_processor_and_tokenizer(here: Path) -> None:
    processor = plan_of("gemma3").tokenizer
    processor.chat_template = "{{ strftime_now('%d') }}" + processor.chat_template
    assert settle_template(processor, True, None) == (None, "2024-07-26")
    assert processor.tokenizer.chat_template == processor.chat_template
