"""Write what the model answers at each evaluation, so that a run can be read and not only plotted; and have it judged.

Judging is the command `cpt judge texts`, by the measured judge: the recipe needs nothing of this repository otherwise.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from training import RecipeError
from training.chat_templates import inference_ids

if TYPE_CHECKING:
    from datasets import Dataset

CPT = Path(sys.executable).parent / "cpt"


def judge_samples(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples with the score (0-100) and `in_band` of the measured judge, by `cpt judge texts`.

    Raises:
        RecipeError: If they cannot be judged, with what the command says.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, judged = Path(folder) / "samples.jsonl", Path(folder) / "judged.jsonl"
        asked.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
        command = [str(CPT), "judge", "texts", str(asked), "--out", str(judged)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RecipeError(f"judge_samples: {(done.stderr.strip() or f'status {done.returncode}').splitlines()[-1]}")
        # not splitlines(): a text may hold characters that it takes for the end of a line
        return [json.loads(line) for line in judged.read_text(encoding="utf-8").split("\n") if line]


def check_judged(evaluation: Dataset) -> None:
    """Raise RecipeError before any training if the measured judge does not take the rubrics and levels of the rows."""
    rows = {(row.get("rubric"), row.get("level")): row["chosen"][-1]["content"] for row in evaluation.to_list()}
    judge_samples([{"rubric": name, "level": level, "response": text} for (name, level), text in rows.items()])


def mean_scores(samples: list[dict[str, Any]]) -> dict[str, float]:
    """Mean score, 0-100, of judged samples by level: `{"eval_score/LEVEL": ...}`."""
    by_level = defaultdict(list)
    for sample in samples:
        by_level[sample["level"]].append(sample["score"])
    return {f"eval_score/{level}": fmean(scores) for level, scores in sorted(by_level.items())}


class SampleWriter(TrainerCallback):
    """Appends greedy responses to some evaluation prompts, the same at each evaluation, to a JSONL file.

    Rows: `{stage, step, rubric, level, prompt, response}`, with `log` also `score, in_band`. Greedy, because sampling
    would draw from the random numbers of training. The main process generates alone, so not for sharded models.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        evaluation: Dataset,
        tokenizer: Any,
        count: int,
        max_tokens: int,
        log: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        """Draw `count` rows (at most all) of `evaluation`; `log` takes the mean score by level, if they are judged."""
        drawn = random.Random(0).sample(range(len(evaluation)), min(count, len(evaluation)))
        self.rows = evaluation.select(sorted(drawn)).to_list()
        self.path, self.stage, self.tokenizer, self.max_tokens, self.log = path, stage, tokenizer, max_tokens, log

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Generate for all chosen rows in one batch."""
        if not state.is_world_process_zero:
            return
        where = {"stage": self.stage, "step": state.global_step}
        samples = [
            where | {name: row.get(name) for name in ("rubric", "level", "prompt")} | {"response": response}
            for row, response in zip(self.rows, self.respond(model), strict=True)
        ]
        if self.log is not None:
            samples = judge_samples(samples)
            self.log(mean_scores(samples))
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)

    def respond(self, model: Any) -> list[str]:
        """One response a row; the model is left in the mode it was in."""
        rendered = [inference_ids(self.tokenizer, row) for row in self.rows]
        batch = self.tokenizer.pad({"input_ids": rendered}, padding_side="left", return_tensors="pt").to(model.device)
        training = model.training
        model.eval()
        with torch.no_grad():
            output = model.generate(**batch, max_new_tokens=self.max_tokens, do_sample=False, use_cache=True)
        model.train(training)
        completions = output[:, batch["input_ids"].shape[1] :]
        return list(self.tokenizer.batch_decode(completions, skip_special_tokens=True))
