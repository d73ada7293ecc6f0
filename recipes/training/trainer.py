"""DPO on twins: TRL's own DPOTrainer with both members of a twin in one batch, and metrics that read a twin as a whole.

What a twin is and why its halves share a batch: `twins.py`. Used by `stages.py`.

Every private name of TRL and transformers that the recipe uses stands here; written for trl 1.16, which has no public
way to order a training set, to let further columns through to a batch, to read the log-probabilities of its forwards,
or to tokenise without a model. tests/recipes/test_trainer.py holds the losses to DPOTrainer's, bit for bit, so that a
release that moves one of these names fails there; pyproject.toml pins trl below 1.17.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import trl.trainer.utils as trl_utils
from trl import DPOConfig, DPOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference
from trl.trainer.utils import create_model_from_path as create_model_from_path  # the alias exports it, to stages.py

from training import RecipeError
from training.twins import TWIN_METRICS, TwinSampler, same_level_sums, twin_index_of, twin_sums

# Vocabulary entries per tile: small enough for a CPU's cache, which TRL's 32768 outgrow.
CPU_TILE = 2048


@dataclass
class CPTConfig(DPOConfig):
    """TRL's DPOConfig plus `twin_batching`."""

    twin_batching: bool = field(default=True, metadata={"help": "Keep the two rows of a twin in one batch."})

    def __post_init__(self) -> None:
        """Raises ValueError for a batch size that would split a twin."""
        super().__post_init__()
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            if self.twin_batching and getattr(self, name) % 2:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected an even number so that no batch splits a twin; or set "
                    "twin_batching: false"
                )


def collate(collator: Any, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """The batch of TRL's collator, plus `twin_index` of shape (n_pairs,) where the rows have it."""
    batch: dict[str, Any] = collator(examples)
    if "twin_index" in examples[0]:
        batch["twin_index"] = torch.tensor([row["twin_index"] for row in examples])
    return batch


def tokenise_dpo_rows(rows: Any, tokenizer: Any, args: Any) -> Any:
    """Rows with `prompt_ids, chosen_ids, rejected_ids` as DPOTrainer makes them, over-long prompts dropped.

    Without a trainer: of it, `_prepare_dataset` reads the tokenizer alone. Rows with images are tokenised by its
    collator, which drops none.

    Raises:
        RecipeError: If the processor refuses a row, as when the chat template prints no image.
    """
    if "images" in rows.column_names:
        return rows.map(functools.partial(tokenise_with_images, DataCollatorForVisionPreference(tokenizer)))
    trainer: Any = SimpleNamespace(_tokenizer=tokenizer)
    return DPOTrainer._prepare_dataset(trainer, rows, tokenizer, args, "train")


def tokenise_with_images(collator: Any, row: dict[str, Any]) -> dict[str, list[int]]:
    """Tokens of a row with images, out of the batch that TRL's collator makes of it."""
    try:
        batch = collator([dict(row)])
    except ValueError as error:
        raise RecipeError(f"preflight: row {row['file_row']}: the processor refuses its images ({error})") from error
    ids, answer = batch["input_ids"], batch["completion_mask"].bool()
    prompt = batch["attention_mask"].bool() & ~answer
    rows = {"prompt_ids": ids[0][prompt[0]], "chosen_ids": ids[0][answer[0]], "rejected_ids": ids[1][answer[1]]}
    return {name: of_row.tolist() for name, of_row in rows.items()}


def number_twins(dataset: Any, side_by_side: bool) -> Any:
    """The rows with the number of their twin; twins may be put side by side, as evaluation reads rows as they stand."""
    if "pair_id" not in dataset.column_names:
        return dataset
    index = twin_index_of(dataset)
    dataset = dataset.add_column("twin_index", index)
    # same-level pairs, counted below 0, come last: an odd number of them before a twin would split it
    order = sorted(range(len(index)), key=lambda row: (index[row] < 0, abs(index[row])))
    return dataset.select(order) if side_by_side else dataset


class ResumedInOrder:
    """Goes on in the order of the epoch that it was in, on several ranks too."""

    state: Any
    control: Any

    def _run_epoch(self, *args: Any, epoch: int, train_dataloader: Any, **kwargs: Any) -> Any:
        if 0 < self.state.max_steps <= self.state.global_step:  # killed after the last step: transformers adds one
            self.control.should_training_stop = True
            return
        # once a part of the epoch is skipped, accelerate 1.15 no longer reaches the sampler
        train_dataloader.set_epoch(epoch)
        super()._run_epoch(*args, epoch=epoch, train_dataloader=train_dataloader, **kwargs)  # type: ignore[misc]


class OrderedSFTTrainer(ResumedInOrder, SFTTrainer):
    """SFTTrainer, whose loss it has."""


class TwinDPOTrainer(ResumedInOrder, DPOTrainer):
    """DPOTrainer that batches twins together and logs twin metrics; the loss is DPOTrainer's own.

    Logged beside TRL's metrics in training and (with the prefix `eval_`) in evaluation, as means over the twins whose
    two members met in one batch; m1 and m2 as in `twins.py`:

    - `twins/both_correct` = mean of [m1 > 0 and m2 > 0], 0-1. A model that ignores the system prompt has m1 = -m2 and
      reads 0 here, while TRL's `rewards/accuracies` reads 0.5.
    - `twins/sum_margin` = mean of m1 + m2: how far the system prompt moves the preference. 0 for such a model.
    - `twins/style_bias` = mean of |m1 - m2| / 2: the preference for one response that no system prompt asked for.
    - `same_level/accuracy` = share of same-level pairs with m > 0, 0-1; of the twins nothing enters.

    Rows without a `pair_id` are plain preference pairs: they have none of these, and need `twin_batching: false`.
    """

    data_collator: Any
    _signature_columns: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are DPOTrainer's for a PEFT model, the data sets by name; it prepares none that has images."""
        for name in ("train_dataset", "eval_dataset"):
            if kwargs.get(name) is not None and "images" in kwargs[name].column_names:
                kwargs[name] = number_twins(kwargs[name], kwargs["args"].twin_batching)
        super().__init__(*args, **kwargs)
        self.data_collator = functools.partial(collate, self.data_collator)
        score_completions_only(self.accelerator.unwrap_model(self.model))

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        # DPOTrainer's constructor calls this
        score_completions_only(self.accelerator.unwrap_model(self.model))
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        """Also numbers twins and, with `twin_batching`, puts them side by side."""
        return number_twins(super()._prepare_dataset(dataset, processing_class, args, dataset_name), args.twin_batching)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, "twin_index"]))

    def _get_train_sampler(self, train_dataset: Any) -> Any:
        if not self.args.twin_batching:
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return TwinSampler(train_dataset["twin_index"], seed)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """DPOTrainer's loss; the log-probabilities of its forwards are read on the way."""
        twin_index = inputs.pop("twin_index", None)  # DPOTrainer would pass it on to the model
        if twin_index is None:
            return super()._compute_loss(model, inputs, return_outputs)
        reference = None
        if self.precompute_ref_logps:
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        logps: list[torch.Tensor] = []  # policy first, then reference, as DPOTrainer calls them
        hook = self.model.register_forward_hook(lambda _, __, output: logps.append(output.log_probs.sum(dim=1)))
        try:
            result = super()._compute_loss(model, inputs, return_outputs)
        finally:
            hook.remove()
        chosen, rejected = (logps[0] - (logps[1] if reference is None else reference)).chunk(2)
        # from summed log-probabilities, so ld_alpha, f_divergence_type and sigmoid_norm's lengths do not enter
        self._log_twins(self.beta * (chosen - rejected).detach(), twin_index)
        return result

    def _log_twins(self, margins: torch.Tensor, twin_index: torch.Tensor) -> None:
        mode = "train" if getattr(self.model, "training", False) else "eval"
        if mode == "eval":  # without the rows that fill up the last batches of several ranks
            margins, twin_index = self.accelerator.gather_for_metrics((margins, twin_index))
        # sums and counts are gathered, so that no rank takes another path
        sums = torch.cat([twin_sums(margins, twin_index), same_level_sums(margins, twin_index)])
        every = sums[None] if mode == "eval" else self.accelerator.gather(sums[None])
        *totals, twins, right, alone = every.sum(dim=0).tolist()
        logged = {f"twins/{name}": (total, twins) for name, total in zip(TWIN_METRICS, totals, strict=True)}
        for name, (total, count) in (logged | {"same_level/accuracy": (right, alone)}).items():
            # One entry a twin: TRL averages the entries, and batches may hold different numbers. For none, not even an
            # empty list: TRL divides by its length.
            if count:
                self._metrics[mode][name].extend([total / count] * round(count))


def keep_precision_of_outputs(accelerator: Any) -> None:
    """Let a sharded model return log-probabilities in float32, as an unsharded one does under mixed precision.

    With FSDP2, accelerate 1.15 casts all that a model returns to the compute type. In bfloat16 the sum over a response
    of -600 nats is off by up to 2, and the margins of DPO are differences of such sums. Works before the model is
    prepared, that is, before training.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = dataclasses.replace(plugin.mixed_precision_policy, output_dtype=None)


def score_completions_only(model: Any) -> None:
    """Make a model with TRL's fused head project labelled positions only on CPU too, in place: 1.4 times as fast.

    trl 1.16 does so on devices with Triton; elsewhere it projects prompt and padding as well and throws those away, in
    tiles of the vocabulary that outgrow a CPU's cache. Numbers agree up to float32 rounding (1e-6 relative). Calls
    without `fused_lm_head`, on another device, or without any label go TRL's way.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(base, "scores_completions_only", False):
        return
    base.scores_completions_only = True
    fused_forward = base.forward

    @functools.wraps(type(base).forward)  # `generate` validates its keyword arguments against the signature
    def forward(self: Any, *args: Any, labels: Any = None, **kwargs: Any) -> Any:
        mask = None if labels is None else labels[:, 1:] != -100
        if mask is None or not kwargs.get("fused_lm_head") or labels.device.type != "cpu" or not mask.any():
            return fused_forward(*args, **kwargs) if labels is None else fused_forward(*args, labels=labels, **kwargs)

        def keep_labelled(_module: Any, _args: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, :-1][mask][None]
            return output

        hook = self.base_model.register_forward_hook(keep_labelled)
        gpu_tile, trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE, CPU_TILE
        try:
            output = fused_forward(*args, shift_labels=labels[:, 1:][mask][None], **kwargs)
        finally:
            hook.remove()
            trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = gpu_tile
        for name in ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1"):
            values = getattr(output, name)
            if values is not None:
                setattr(output, name, values.new_zeros(mask.shape).masked_scatter(mask, values[0]))
        output.label_mask = mask
        return output

    base.forward = types.MethodType(forward, base)
