"""What tuning costs: length, repetition and fluency of the responses after each stage, over the seeds of a run.

python recipes/experiments/fluency_table.py results/smollm2-135m --base models/smollm2-135m-instruct

writes fluency.md beside rounds.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from inspect_ai.log import read_eval_log
from rounds_table import folders_of, row_means, show, values_by_stage, with_chosen
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
BATCH = 16
THINNED = 3  # perplexity is of every third response, a third of every cell
TEACHERS = ("data_gen/seed/responses.jsonl", "data_gen/seed/responses_second.jsonl")
HEAD = """\
# What each stage costs

The responses behind [rounds.md](rounds.md), without their rubrics. `words`: length of one; `cut`: share that ran into
the limit of tokens; `repeated`: share of runs of four words that the same response had before (seq-rep-4 of arXiv
1908.04319); `perplexity`: under the untuned model, of every third response as text alone. `teachers` are all their
texts, of which SFT and twins train on most, `chosen` is as there. Means over seeds, with Student's t intervals.
"""


def repeated(text: str, size: int = 4) -> float:
    """Share of the runs of `size` words that are not the first of their kind; 0 for a text without one."""
    words = text.split()
    runs = list(zip(*(words[start:] for start in range(size)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def perplexity(texts: list[str], model: Any, tokenizer: Any) -> float:
    """Exponential of the mean negative log-likelihood of all tokens but the first of each text."""
    total, count = 0.0, 0
    kept = sorted((ids for text in texts if len(ids := tokenizer(text)["input_ids"]) > 1), key=len)
    for start in range(0, len(kept), BATCH):
        rows = [torch.tensor(ids) for ids in kept[start : start + BATCH]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
        mask = (labels != -100).long()
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum", ignore_index=-100
        )
        total, count = total + losses.item(), count + int(mask[:, 1:].sum())
    return float(torch.tensor(total / count).exp())


def values_of(texts: list[str], model: Any, tokenizer: Any) -> dict[str, float]:
    """The numbers of one stage, but for `cut`."""
    return {
        "words": sum(len(text.split()) for text in texts) / len(texts),
        "repeated": sum(map(repeated, texts)) / len(texts),
        "perplexity": perplexity(texts[::THINNED], model, tokenizer),
    }


def values_of_log(path: Path, model: Any, tokenizer: Any) -> dict[str, float]:
    """The numbers of one stage."""
    outputs = [sample.output for sample in read_eval_log(str(path)).samples or []]
    cut = sum(output.stop_reason == "max_tokens" for output in outputs) / len(outputs)
    return values_of([output.completion for output in outputs], model, tokenizer) | {"cut": cut}


def main() -> None:
    """Writes the table over all seeds of a run."""
    parser = argparse.ArgumentParser(description="Write what each stage costs, over the seeds of a run.")
    parser.add_argument("run", type=Path, help="folder with seed-*/rounds/ of rounds.mk")
    parser.add_argument("--base", required=True, help="folder or hub name of the untuned model")
    options = parser.parse_args()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(options.base), AutoTokenizer.from_pretrained(options.base)
    written = pd.concat([pd.read_json(ROOT / path, lines=True) for path in TEACHERS])
    texts = written.sort_values(["rubric", "level"], kind="stable")["response"].tolist()  # by cell, as in a log
    teachers = pd.Series(values_of(texts, model, tokenizer)).map("{:.2f}".format)
    runs: list[pd.DataFrame] = []
    for folder in folders_of(parser, options.run):
        logs = {stage: folder / f"logs/rounds/{stage}.eval" for stage in values_by_stage(folder).index}
        values = pd.DataFrame({stage: values_of_log(log, model, tokenizer) for stage, log in logs.items()}).T
        runs.append(with_chosen(values, folder))
        print(f"{folder}: read", flush=True)
    table = pd.DataFrame(
        {one: row_means(pd.concat([run[one] for run in runs], axis=1)).apply(show, axis=1) for one in runs[0]}
    )
    table.loc["teachers"] = teachers
    page = HEAD + "\n" + table.fillna("").rename_axis("stage").to_markdown(disable_numparse=True) + "\n"
    (options.run / "fluency.md").write_text(page, encoding="utf-8", newline="\n")
    print(page)


if __name__ == "__main__":
    main()
