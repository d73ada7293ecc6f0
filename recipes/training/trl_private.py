"""Every private name of TRL and transformers that the recipe uses, with the reason; written for trl 1.16.

TRL has no public way to order a training set, to let further columns through to a batch, to read the log-probabilities
of its forwards, or to tokenise without a model. tests/recipes/test_trainer.py holds the losses to DPOTrainer's, bit for
bit, so a release that moves one of these names fails there; pyproject.toml pins trl below 1.17.
"""

from __future__ import annotations

import functools
import types
from types import SimpleNamespace
from typing import Any

import torch
import trl.trainer.utils as trl_utils
from trl import DPOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import create_model_from_path

__all__ = ["DataCollatorForPreference", "OpenDPOTrainer", "create_model_from_path", "score_completions_only"]

# Vocabulary entries per tile: small enough for a CPU's cache, which TRL's 32768 outgrow.
CPU_TILE = 2048


def tokenise_dpo_rows(rows: Any, tokenizer: Any, args: Any) -> Any:
    """Rows as DPOTrainer tokenises them, without a trainer: of it, `_prepare_dataset` reads the tokenizer alone."""
    trainer: Any = SimpleNamespace(_tokenizer=tokenizer)
    return DPOTrainer._prepare_dataset(trainer, rows, tokenizer, args, "train")


def tokenise_sft_rows(rows: Any, tokenizer: Any, args: Any) -> Any:
    """Rows as SFTTrainer tokenises them, without a trainer."""
    trainer: Any = SimpleNamespace(_tokenizer=tokenizer, completion_only_loss=True, chat_template=None)
    return SFTTrainer._prepare_dataset(trainer, rows, tokenizer, args, False, None, "train")


class OpenDPOTrainer(DPOTrainer):
    """DPOTrainer with the three places a subclass needs: `arrange`, `order` and `extra_loss`.

    As it stands its losses are DPOTrainer's. Columns named in `extra_columns` reach the collator, and what the collator
    makes of them is taken out of the batch before DPOTrainer sees it, which would pass it on to the model.
    """

    extra_columns: tuple[str, ...] = ()
    _signature_columns: Any
    precompute_ref_logps: bool
    data_collator: Any

    def arrange(self, dataset: Any, args: Any) -> Any:
        """The tokenised rows in the order and with the columns they are to have."""
        return dataset

    def order(self, dataset: Any) -> Any:
        """Sampler of the training rows; None for TRL's own."""
        return None

    def extra_loss(self, margins: torch.Tensor, extra: dict[str, torch.Tensor], training: bool) -> Any:
        """A term to add to the loss, None for nothing; `margins` are beta * (log-ratio chosen - rejected), a pair each.

        They come from summed log-probabilities, so `ld_alpha`, `f_divergence_type` and the length normalisation of
        `sigmoid_norm` do not enter.
        """
        return None

    def log_mean(self, name: str, value: float, count: int) -> None:
        """Adds `count` values of mean `value` to a running mean of the log.

        One entry each: TRL averages the entries, and batches may hold different numbers. For none, not even an empty
        list: TRL divides by its length.
        """
        mode = "train" if getattr(self.model, "training", False) else "eval"
        if count:
            self._metrics[mode][name].extend([value] * count)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return self.arrange(super()._prepare_dataset(dataset, processing_class, args, dataset_name), args)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        missing = [name for name in self.extra_columns if name not in self._signature_columns]
        self._signature_columns = [*self._signature_columns, *missing]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        sampler = self.order(self.train_dataset if train_dataset is None else train_dataset)
        return super()._get_train_sampler(train_dataset) if sampler is None else sampler

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """DPOTrainer's loss; the log-probabilities of its forwards are read on the way, for `extra_loss`."""
        extra = {name: inputs.pop(name) for name in self.extra_columns if name in inputs}
        reference = None
        if self.precompute_ref_logps:
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        logps: list[torch.Tensor] = []  # policy first, then reference, as DPOTrainer calls them
        hooks = [
            network.register_forward_hook(lambda _, __, output: logps.append(output.log_probs.sum(dim=1)))
            for network in (self.model, self.ref_model)
            if network is not None
        ]
        try:
            result = super()._compute_loss(model, inputs, return_outputs)
        finally:
            for hook in hooks:
                hook.remove()
        chosen, rejected = (logps[0] - (logps[1] if reference is None else reference)).chunk(2)
        term = self.extra_loss(self.beta * (chosen - rejected), extra, model.training)
        if term is None:
            return result
        return (result[0] + term, result[1]) if return_outputs else result + term


def score_completions_only(model: Any) -> None:
    """Make a model with TRL's fused head project labelled positions only on CPU too, in place: 1.4 times as fast.

    trl 1.16 does so on devices with Triton; elsewhere it projects prompt and padding as well and throws those away, in
    tiles of the vocabulary that outgrow a CPU's cache. Numbers agree up to float32 rounding (1e-6 relative). Calls
    without `fused_lm_head`, on another device, or without any label go TRL's way.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
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
