"""DPO on twins: TRL's own DPOTrainer with both members of a twin in one batch, and metrics that read a twin as a whole.

What a twin is, why its halves share a batch, and the optional terms of the objective: `twins.py`. Used by `stages.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from trl import DPOConfig

from training.trl_private import DataCollatorForPreference, OpenDPOTrainer, score_completions_only
from training.twins import (
    CELL_COLUMNS,
    TWIN_METRICS,
    TwinSampler,
    cell_names,
    joint_loss,
    offset_loss,
    twin_groups,
    twin_order,
    twin_sums,
    whole_twins,
)

TWIN_COLUMN = "twin_index"
GAP_COLUMN = "score_gap"
CELL_COLUMN = "cell_index"


@dataclass
class CPTConfig(DPOConfig):
    """TRL's DPOConfig plus `twin_batching` and the weights of the optional terms in `twins.py`."""

    twin_batching: bool = field(default=True, metadata={"help": "Keep the two rows of a twin in one batch."})
    joint_weight: float = field(default=0.0, metadata={"help": "Weight of the joint term of a twin (IOPO); 0 = off."})
    score_offset: float = field(
        default=0.0, metadata={"help": "Factor of the offset log(1 + score gap) (ODPO), reward units; 0 = off."}
    )


def objective_problem(dpo: CPTConfig) -> str | None:
    """One sentence on settings of the objective that contradict one another, None for sound ones."""
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
        if dpo.twin_batching and getattr(dpo, name) % 2:
            return (
                f"{name} is {getattr(dpo, name)}, expected an even number so that no batch splits a twin; or set "
                "twin_batching: false"
            )
    if dpo.joint_weight and not dpo.twin_batching:
        return "joint_weight is set with twin_batching: false, expected true: the term needs whole twins"
    if dpo.joint_weight and "sigmoid_norm" in dpo.loss_type:
        return (
            "joint_weight is set with loss_type sigmoid_norm, expected sigmoid: the joint term sums log-ratios that "
            "this loss divides by the length of a response, so it would outweigh it about 200 times"
        )
    if dpo.score_offset and not (
        set(dpo.loss_type) in ({"sigmoid"}, {"sigmoid", "sft"})
        and (dpo.ld_alpha, dpo.f_divergence_type) == (None, "reverse_kl")
    ):
        return "score_offset goes with the losses sigmoid and sft, without ld_alpha and f_divergence_type"
    return None


@dataclass
class TwinCollator(DataCollatorForPreference):
    """TRL's collator plus tensors of shape (n_pairs,): `twin_index` and `cell_index`, -1 for none, and any gaps."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The padded batch."""
        batch: dict[str, Any] = super().torch_call(examples)
        for name in (TWIN_COLUMN, CELL_COLUMN):
            batch[name] = torch.tensor([example.get(name, -1) for example in examples])
        if GAP_COLUMN in examples[0]:
            batch[GAP_COLUMN] = torch.tensor([example[GAP_COLUMN] for example in examples], dtype=torch.float)
        return batch


class TwinDPOTrainer(OpenDPOTrainer):
    """DPOTrainer that batches twins together and logs twin metrics; the loss is DPOTrainer's own, plus optional terms.

    Logged beside TRL's metrics in training and (with the prefix `eval_`) in evaluation, as means over the twins whose
    two members met in one batch; m1 and m2 as in `twins.py`:

    - `twins/both_correct` = mean of [m1 > 0 and m2 > 0], 0-1. A model that ignores the system prompt has m1 = -m2 and
      reads 0 here, while TRL's `rewards/accuracies` reads 0.5.
    - `twins/sum_margin` = mean of m1 + m2: how far the system prompt moves the preference. 0 for such a model.
    - `twins/style_bias` = mean of |m1 - m2| / 2: the preference for one response that no system prompt asked for.

    Evaluation also logs `twins/both_correct/RUBRIC/LOW:HIGH`, the first by rubric and pair of levels.
    """

    args: CPTConfig
    loss_types: list[str]
    loss_weights: list[float]
    extra_columns = (TWIN_COLUMN, CELL_COLUMN, GAP_COLUMN)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are DPOTrainer's.

        Raises:
            ValueError: for settings that contradict one another, with the sentence of `objective_problem`.
        """
        self._cells: dict[str, int] = {}  # index of a cell by its name; filled while the data sets are prepared
        super().__init__(*args, **kwargs)
        problem = objective_problem(self.args)
        if problem:
            raise ValueError(problem)
        collator = self.data_collator
        if type(collator) is DataCollatorForPreference:
            self.data_collator = TwinCollator(
                pad_token_id=collator.pad_token_id,
                max_length=collator.max_length,
                truncation_mode=collator.truncation_mode,
                pad_to_multiple_of=collator.pad_to_multiple_of,
            )
        for network in (self.model, self.ref_model):
            if network is not None:
                score_completions_only(self.accelerator.unwrap_model(network))

    def arrange(self, dataset: Any, args: Any) -> Any:
        """Number the twins and, with `twin_batching`, put them side by side: evaluation reads rows as they stand."""
        if "pair_id" not in dataset.column_names or TWIN_COLUMN in dataset.column_names:
            return dataset
        groups = twin_groups(dataset["pair_id"])
        index = {row: number for number, group in enumerate(groups) for row in group}
        dataset = dataset.add_column(TWIN_COLUMN, [index[row] for row in range(len(dataset))])
        if set(CELL_COLUMNS) <= set(dataset.column_names):
            cells = [self._cells.setdefault(name, len(self._cells)) for name in cell_names(dataset)]
            dataset = dataset.add_column(CELL_COLUMN, cells)
        if args.score_offset:
            scores = zip(dataset["score_chosen"], dataset["score_rejected"], strict=True)
            dataset = dataset.add_column(GAP_COLUMN, [abs(chosen - rejected) for chosen, rejected in scores])
        return dataset.select(twin_order(groups)) if args.twin_batching else dataset

    def order(self, dataset: Any) -> TwinSampler | None:
        """Whole twins side by side, in an order by seed and epoch."""
        if not self.args.twin_batching or TWIN_COLUMN not in dataset.column_names:
            return None
        return TwinSampler(dataset[TWIN_COLUMN], self.args.seed if self.args.data_seed is None else self.args.data_seed)

    def extra_loss(self, margins: torch.Tensor, extra: dict[str, torch.Tensor], training: bool) -> Any:
        """Logs the twin metrics; returns the sum of the optional terms that are on, None if none is."""
        self._log_twins(margins.detach(), extra[TWIN_COLUMN])
        if self._cells and not training:
            self._log_cells(margins.detach(), extra[TWIN_COLUMN], extra[CELL_COLUMN])
        terms = []
        if self.args.joint_weight:
            terms.append(self.args.joint_weight * joint_loss(margins, extra[TWIN_COLUMN]))
        if GAP_COLUMN in extra:
            weight = self.loss_weights[self.loss_types.index("sigmoid")]
            terms.append(weight * offset_loss(margins, extra[GAP_COLUMN], self.args.score_offset))
        return sum(terms) if terms else None

    def _log_twins(self, margins: torch.Tensor, twin_index: torch.Tensor) -> None:
        """Sums and counts are gathered, so no rank takes another path."""
        *totals, twins = self.accelerator.gather(twin_sums(margins, twin_index)[None]).sum(dim=0).tolist()
        for name, total in zip(TWIN_METRICS, totals, strict=True):
            self.log_mean(f"twins/{name}", total / max(twins, 1), round(twins))

    def _log_cells(self, margins: torch.Tensor, twin_index: torch.Tensor, cell_index: torch.Tensor) -> None:
        first, second = whole_twins(twin_index)
        named = cell_index[first] >= 0
        first, second = first[named], second[named]
        correct = ((margins[first] > 0) & (margins[second] > 0)).to(margins.dtype)
        counts = margins.new_zeros(len(self._cells), 2)  # right, all
        counts.index_add_(0, cell_index[first], torch.stack([correct, torch.ones_like(correct)], dim=1))
        totals = self.accelerator.gather(counts[None]).sum(dim=0).tolist()
        for name, (right, twins) in zip(self._cells, totals, strict=True):
            self.log_mean(f"twins/both_correct/{name}", right / max(twins, 1), round(twins))
