"""DPO on twins: TRL's own DPOTrainer with both members of a twin in one batch, and metrics that read a twin as a whole.

A twin is two role-swapped preference pairs with one `pair_id`:

    (s1, x): y1 > y2        m1 = beta * [log-ratio(y1 | s1, x) - log-ratio(y2 | s1, x)]
    (s2, x): y2 > y1        m2 = beta * [log-ratio(y2 | s2, x) - log-ratio(y1 | s2, x)]

with log-ratio(y | s, x) = log pi(y | s, x) - log pi_ref(y | s, x). The loss is -logsigmoid(m1) - logsigmoid(m2), so a
change of log pi(y) that does not depend on the system prompt s leaves m1 + m2 as it was: only the sum says whether the
condition was learnt. In shuffled small batches the two halves fall into different steps and each step alone pushes a
style ("y1 up"), whatever s is. Departure from arXiv 2506.11702, which shuffles; `twin_batching: false` restores that.

Used by `dpo_lora.py`. Written for trl 1.16: `_compute_loss`, `_prepare_dataset` and `_metrics` are private there, so
tests/test_recipes_trainer.py holds the losses to DPOTrainer's.
"""

# mypy: disable-error-code="attr-defined,no-untyped-call,import-untyped"
# trl exports its classes lazily and leaves methods untyped; datasets ships no types

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from completion_head import score_completions_only
from objectives import OFFSET_LOSSES, joint_loss, offsets, whole_twins
from torch.utils.data import Sampler
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

TWIN_COLUMN = "twin_index"
GAP_COLUMN = "score_gap"
CELL_COLUMN = "cell_index"


@dataclass
class CPTConfig(DPOConfig):
    """TRL's DPOConfig plus `twin_batching` and the weights of `objectives.py`."""

    twin_batching: bool = field(
        default=True,
        metadata={"help": "Keep the two role-swapped pairs of a twin in one batch."},
    )
    joint_weight: float = field(default=0.0, metadata={"help": "Weight of the joint term of a twin (IOPO); 0 = off."})
    score_offset: float = field(
        default=0.0,
        metadata={"help": "Factor of the offset log(1 + score gap) of each pair (ODPO), reward units; 0 = off."},
    )


def cell_names(rows: Mapping[str, Sequence[Any]]) -> list[str]:
    """`rubric/level:level` of each row, the level with the lower score first, so that both rows of a twin agree.

    Args:
        rows: columns `rubric, level, rejected_level, score_chosen, score_rejected` of a preference file.
    """
    names = []
    columns = ("rubric", "level", "rejected_level", "score_chosen", "score_rejected")
    for rubric, level, other, chosen, rejected in zip(*(rows[name] for name in columns), strict=True):
        low, high = (level, other) if (chosen, str(level)) <= (rejected, str(other)) else (other, level)
        names.append(f"{rubric}/{low}:{high}")
    return names


@dataclass(frozen=True)
class TwinMetrics:
    """Sums over the twins of one batch, in reward units (beta times log-ratio, nats)."""

    both_correct: torch.Tensor
    sum_margin: torch.Tensor
    style_bias: torch.Tensor
    twins: torch.Tensor


def twin_groups(pair_ids: Sequence[Hashable]) -> list[list[int]]:
    """Row numbers per pair id, in order of first appearance; a whole twin has two, a row alone is a list of one."""
    groups: dict[Hashable, list[int]] = {}
    for row, pair_id in enumerate(pair_ids):
        groups.setdefault(pair_id, []).append(row)
    return list(groups.values())


def twin_order(groups: Sequence[Sequence[int]]) -> list[int]:
    """Rows with twins adjacent: groups of even size first, so that twins keep starting at even positions."""
    return [row for group in sorted(groups, key=lambda group: len(group) % 2) for row in group]


class TwinSampler(Sampler[int]):
    """Rows in a seeded random order of twins, both members adjacent, whole twins first.

    The order depends on seed and epoch only, so it is the same on every rank; accelerate deals out whole batches, which
    keeps twins together when the batch size is even. A row whose twin was lost (to `max_length`) comes last.
    """

    def __init__(self, pair_ids: Sequence[Hashable], seed: int) -> None:
        """Group the rows by pair id."""
        self.groups = twin_groups(pair_ids)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; accelerate calls it, also when a run resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of rows."""
        return sum(len(group) for group in self.groups)

    def __iter__(self) -> Iterator[int]:
        """Row numbers of one epoch."""
        groups = list(self.groups)
        random.Random(f"{self.seed}-{self.epoch}").shuffle(groups)
        return iter(twin_order(groups))


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


def twin_metrics(margins: torch.Tensor, twin_index: torch.Tensor) -> TwinMetrics:
    """Sums of the three twin metrics over the whole twins of a batch.

    Args:
        margins: m of each pair, shape (n_pairs,), reward units.
        twin_index: shape (n_pairs,); two rows with the same value >= 0 are a twin. Rows alone in the batch are left
            out; a batch without a whole twin gives four zeros.
    """
    first, second = whole_twins(twin_index)
    m1, m2 = margins[first], margins[second]
    return TwinMetrics(
        both_correct=((m1 > 0) & (m2 > 0)).to(margins.dtype).sum(),
        sum_margin=(m1 + m2).sum(),
        style_bias=(m1 - m2).abs().sum() / 2,
        twins=margins.new_tensor(float(len(m1))),
    )


class TwinDPOTrainer(DPOTrainer):
    """DPOTrainer that batches twins together and logs twin metrics; the loss is DPOTrainer's own, plus `objectives.py`.

    Logged beside TRL's metrics in training and (with the prefix `eval_`) in evaluation, as means over the twins whose
    two members met in one batch. m1 and m2 as in the file's docstring, always from summed log-probabilities (`ld_alpha`
    does not enter):

    - `twins/both_correct` = mean of [m1 > 0 and m2 > 0], 0-1. A model that ignores the system prompt has m1 = -m2 and
      reads 0 here, while TRL's `rewards/accuracies` reads 0.5.
    - `twins/sum_margin` = mean of m1 + m2: how far the system prompt moves the preference. 0 for such a model.
    - `twins/style_bias` = mean of |m1 - m2| / 2: the preference for one response that no system prompt asked for.

    Evaluation also logs `twins/both_correct/RUBRIC/LOW:HIGH`, the first by rubric and pair of levels.

    With `score_offset`, TRL's `rewards/*` hold the offset, so that `rewards/accuracies` asks for a margin above it; the
    twin metrics and the joint term do not.
    """

    args: CPTConfig
    _signature_columns: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are DPOTrainer's.

        Raises:
            ValueError: if `twin_batching` is on and a batch size is odd: every batch would split a twin; or if
                `score_offset` meets a loss it has no meaning in.
        """
        self._cells: dict[str, int] = {}  # index of a cell by its name; filled while the data sets are prepared
        super().__init__(*args, **kwargs)
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            if self.args.twin_batching and getattr(self.args, name) % 2:
                raise ValueError(
                    f"{name} is {getattr(self.args, name)}, expected an even number so that no batch splits a twin; "
                    "or set twin_batching: false"
                )
        if self.args.score_offset and not set(self.loss_types) <= OFFSET_LOSSES:
            raise ValueError(f"score_offset goes with the losses {sorted(OFFSET_LOSSES)}, got {self.loss_types}")
        collator = self.data_collator
        if type(collator) is DataCollatorForPreference:
            self.data_collator = TwinCollator(
                pad_token_id=collator.pad_token_id,
                max_length=collator.max_length,
                truncation_mode=collator.truncation_mode,
                pad_to_multiple_of=collator.pad_to_multiple_of,
            )
        score_completions_only(self.accelerator.unwrap_model(self.model))
        if self.ref_model is not None:
            score_completions_only(self.accelerator.unwrap_model(self.ref_model))

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        """Tokenise as TRL does, then number the twins and, with `twin_batching`, put them side by side.

        Training order is the sampler's; evaluation reads the rows as they stand, hence the sorting here.
        """
        dataset = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        if "pair_id" not in dataset.column_names or TWIN_COLUMN in dataset.column_names:
            return dataset
        groups = twin_groups(dataset["pair_id"])
        index = {row: number for number, group in enumerate(groups) for row in group}
        dataset = dataset.add_column(TWIN_COLUMN, [index[row] for row in range(len(dataset))])
        if {"rubric", "level", "rejected_level", "score_chosen", "score_rejected"} <= set(dataset.column_names):
            cells = [self._cells.setdefault(name, len(self._cells)) for name in cell_names(dataset)]
            dataset = dataset.add_column(CELL_COLUMN, cells)
        if args.score_offset:
            scores = zip(dataset["score_chosen"], dataset["score_rejected"], strict=True)
            dataset = dataset.add_column(GAP_COLUMN, [abs(chosen - rejected) for chosen, rejected in scores])
        return dataset.select(twin_order(groups)) if args.twin_batching else dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if TWIN_COLUMN not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, TWIN_COLUMN, CELL_COLUMN, GAP_COLUMN]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if not self.args.twin_batching or TWIN_COLUMN not in dataset.column_names:
            return super()._get_train_sampler(train_dataset)
        return TwinSampler(dataset[TWIN_COLUMN], self.args.seed if self.args.data_seed is None else self.args.data_seed)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """DPOTrainer's loss; the log-probabilities of its forwards are read on the way for metrics and joint term."""
        twin_index = inputs.pop(TWIN_COLUMN)  # TRL passes keys it does not know on to the model
        cell_index = inputs.pop(CELL_COLUMN)
        gap = inputs.pop(GAP_COLUMN, None)
        precomputed = self.precompute_ref_logps
        reference = None
        if precomputed:
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        elif gap is not None:
            reference = torch.cat(self.compute_ref_log_probs(self.model, inputs))
        if gap is not None:
            assert reference is not None
            # logsigmoid(beta * d - offset) is DPO against a reference that likes the chosen response offset/beta more
            chosen, rejected = reference.chunk(2)
            shift = offsets(gap, self.args.score_offset) / self.beta
            inputs = inputs | {"ref_chosen_logps": chosen + shift, "ref_rejected_logps": rejected}
        logps: list[torch.Tensor] = []  # policy first, then reference, as DPOTrainer calls them
        hooks = [
            network.register_forward_hook(lambda _, __, output: logps.append(output.log_probs.sum(dim=1)))
            for network in (self.model, self.ref_model)
            if network is not None
        ]
        try:
            self.precompute_ref_logps = reference is not None
            result = super()._compute_loss(model, inputs, return_outputs)
        finally:
            self.precompute_ref_logps = precomputed
            for hook in hooks:
                hook.remove()
        chosen, rejected = (logps[0] - (logps[1] if reference is None else reference)).chunk(2)
        margins = self.beta * (chosen - rejected)
        self._log_twins(twin_metrics(margins.detach(), twin_index))
        if not model.training:
            self._log_cells(margins.detach(), twin_index, cell_index)
        if not self.args.joint_weight:
            return result
        joint = self.args.joint_weight * joint_loss(margins, twin_index)
        return (result[0] + joint, result[1]) if return_outputs else result + joint

    def _log_twins(self, metrics: TwinMetrics) -> None:
        """Add a batch to the running means; sums and counts are gathered, so no rank takes another path."""
        sums = torch.stack([metrics.both_correct, metrics.sum_margin, metrics.style_bias, metrics.twins])
        *totals, twins = self.accelerator.gather(sums.reshape(1, 4)).sum(dim=0).tolist()
        if not twins:  # not even an empty list: TRL divides by its length
            return
        mode = "train" if getattr(self.model, "training", False) else "eval"
        for name, total in zip(("both_correct", "sum_margin", "style_bias"), totals, strict=True):
            # One entry per twin: TRL averages the entries, and batches may hold different numbers of twins.
            self._metrics[mode][f"twins/{name}"].extend([total / twins] * round(twins))

    def _log_cells(self, margins: torch.Tensor, twin_index: torch.Tensor, cell_index: torch.Tensor) -> None:
        """Add the twins of a batch to the running means of their cells."""
        first, second = whole_twins(twin_index)
        correct = (margins[first] > 0) & (margins[second] > 0)
        counts = margins.new_zeros(len(self._cells), 2)  # right, all
        for cell, is_right in zip(cell_index[first].tolist(), correct.tolist(), strict=True):
            if cell >= 0:
                counts[cell] += counts.new_tensor([float(is_right), 1.0])
        if not self._cells:
            return
        totals = self.accelerator.gather(counts[None]).sum(dim=0).tolist()
        for name, (right, twins) in zip(self._cells, totals, strict=True):
            if twins:
                self._metrics["eval"][f"twins/both_correct/{name}"].extend([right / twins] * round(twins))
