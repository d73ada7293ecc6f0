"""Write what the model answers at each evaluation, so that a run can be read and not only plotted."""

# mypy: disable-error-code="import-untyped"
# datasets ships no types

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from datasets import Dataset


class SampleWriter(TrainerCallback):
    """Appends greedy responses to some evaluation prompts, the same at each evaluation, to a JSONL file.

    Rows: `{stage, step, rubric, level, prompt, response}`. Greedy, because sampling would draw from the random numbers
    of training. The main process generates alone, so not for sharded models.
    """

    def __init__(
        self, path: Path, stage: str, evaluation: Dataset, tokenizer: Any, count: int, max_tokens: int
    ) -> None:
        """Draw `count` rows (at most all) of `evaluation`; `max_tokens` is the longest response, in tokens."""
        drawn = random.Random(0).sample(range(len(evaluation)), min(count, len(evaluation)))
        self.rows = evaluation.select(sorted(drawn)).to_list()
        self.path, self.stage, self.tokenizer, self.max_tokens = path, stage, tokenizer, max_tokens

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Generate for all chosen rows in one batch."""
        if not state.is_world_process_zero:
            return
        responses = self.respond(model)
        with self.path.open("a", encoding="utf-8") as file:
            for row, response in zip(self.rows, responses, strict=True):
                sample = {
                    "stage": self.stage,
                    "step": state.global_step,
                    "rubric": row.get("rubric"),
                    "level": row.get("level"),
                    "prompt": row["prompt"],
                    "response": response,
                }
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")

    def respond(self, model: Any) -> list[str]:
        """One response a row; the model is left in the mode it was in."""
        import torch

        rendered = [
            self.tokenizer.apply_chat_template(
                row["prompt"],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                **(row.get("chat_template_kwargs") or {}),
            )["input_ids"]
            for row in self.rows
        ]
        batch = self.tokenizer.pad({"input_ids": rendered}, padding_side="left", return_tensors="pt").to(model.device)
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                output = model.generate(**batch, max_new_tokens=self.max_tokens, do_sample=False, use_cache=True)
        finally:
            model.train(training)
        completions = output[:, batch["input_ids"].shape[1] :]
        return list(self.tokenizer.batch_decode(completions, skip_special_tokens=True))
