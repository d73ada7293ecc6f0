"""Write what the model answers at each evaluation, so that a run can be read and not only plotted.

`cpt judge texts OUT/samples.jsonl` scores the file.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback

from training.chat_templates import inference_ids, reads_images, tokenizer_in, with_images
from training.run_files import write_whole


class SampleWriter(TrainerCallback):
    """Adds greedy responses to some evaluation prompts, the same at each evaluation, to a JSONL file.

    Rows: `{stage, step, rubric, level, prompt, response}`. Those of the stage at this step or later, which a run that
    ended early left, give way. Greedy, because sampling would draw from the random numbers of training. The main
    process generates alone, so not for sharded models.
    """

    def __init__(
        self, path: Path, stage: str, evaluation: Dataset, tokenizer: Any, count: int, max_tokens: int
    ) -> None:
        """Draw `count` rows (at most all) of `evaluation`."""
        drawn = random.Random(0).sample(range(len(evaluation)), min(count, len(evaluation)))
        self.rows = evaluation.select(sorted(drawn)).to_list()
        self.path, self.stage, self.tokenizer, self.max_tokens = path, stage, tokenizer, max_tokens

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Generate for all chosen rows in one batch."""
        if not state.is_world_process_zero:
            return
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1] if self.path.exists() else []
        samples = [
            one for one in map(json.loads, lines) if one["stage"] != self.stage or one["step"] < state.global_step
        ]
        for row, response in zip(self.rows, self.respond(model), strict=True):
            sample = {"stage": self.stage, "step": state.global_step}
            sample |= {name: row.get(name) for name in ("rubric", "level", "prompt")}
            samples.append(sample | {"response": response})
        write_whole(self.path, "".join(f"{json.dumps(sample, ensure_ascii=False)}\n" for sample in samples))

    def respond(self, model: Any) -> list[str]:
        """One response a row; the model is left in the mode it was in."""
        batch = self.prompts().to(model.device)
        training = model.training
        model.eval()
        with torch.no_grad():
            output = model.generate(**batch, max_new_tokens=self.max_tokens, do_sample=False, use_cache=True)
        model.train(training)
        completions = output[:, batch["input_ids"].shape[1] :]
        return list(tokenizer_in(self.tokenizer).batch_decode(completions, skip_special_tokens=True))

    def prompts(self) -> Any:
        """The prompts as one batch, padded on the left."""
        padding = {"padding_side": "left", "return_tensors": "pt"}
        if not reads_images(self.tokenizer):
            return self.tokenizer.pad(
                {"input_ids": [inference_ids(self.tokenizer, row) for row in self.rows]}, **padding
            )
        rendering: dict[str, Any] = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
        rendering["processor_kwargs"] = padding | {"padding": True}
        return self.tokenizer.apply_chat_template([with_images(row) for row in self.rows], **rendering)
