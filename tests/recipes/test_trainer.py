"""Twin batching and twin metrics of the DPO trainer, on a tiny model."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import trl.trainer.utils as trl_utils
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from tiny_model import make_rows, make_same_level_row, save_tiny_model
from torch.utils.data import BatchSampler, DataLoader
from training import trainer as trainer_module
from training.trainer import CPTConfig, TwinDPOTrainer
from training.twins import TwinSampler, same_level_sums, twin_sums
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def make_trainer(cls: Any, tiny: str, folder: Path, rows: list[dict[str, Any]], **options: Any) -> Any:
    evaluation = Dataset.from_list(options.pop("evaluation", None) or make_rows(3, start=100))
    kind = DPOConfig if cls is DPOTrainer else CPTConfig
    options |= {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "num_train_epochs": 2, "seed": 7}
    options |= {"use_cpu": True, "bf16": False, "activation_checkpointing": False}
    options |= {"logging_steps": 1, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    args = kind(output_dir=str(folder), **options)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    return cls(model=tiny, args=args, train_dataset=Dataset.from_list(rows), eval_dataset=evaluation, peft_config=lora)


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_losses_equal_dpo_trainer_and_twin_batching_changes_the_order_alone(tiny: str, tmp_path: Path) -> None:
    rows = make_rows(6)
    plain = make_trainer(DPOTrainer, tiny, tmp_path, rows)
    batch = next(iter(make_trainer(TwinDPOTrainer, tiny, tmp_path, rows).get_train_dataloader()))
    ours = make_trainer(TwinDPOTrainer, tiny, tmp_path, rows, twin_batching=False)
    expected = plain.compute_loss(plain.model, {key: batch[key] for key in batch.keys() - {"twin_index"}})
    torch.testing.assert_close(ours.compute_loss(ours.model, dict(batch)), expected, rtol=0, atol=0)
    plain.train()
    ours.train()
    assert len(set(losses(plain))) == 6  # the comparison is not one of constants
    assert losses(ours) == losses(plain)
    assert ours.evaluate()["eval_loss"] == plain.evaluate()["eval_loss"]


def test_same_level_pairs_break_up_no_twin_and_are_counted_apart(tiny: str, tmp_path: Path) -> None:
    alone = [make_same_level_row(number) for number in (20, 21, 22)]
    twins = [row | {"kind": "twin"} for row in make_rows(4)]
    rows = [*alone[:1], *twins[:3], *alone[1:], *twins[3:]]
    options = {"evaluation": rows, "per_device_eval_batch_size": 4}
    trainer = make_trainer(TwinDPOTrainer, tiny, tmp_path, rows, **options)
    for loader in (trainer.get_train_dataloader(), trainer.get_eval_dataloader()):
        indices = [batch["twin_index"].tolist() for batch in loader]
        assert sorted(index for batch in indices for index in batch) == [-5, -4, -1, 1, 1, 2, 2, 5, 5, 6, 6]
        assert all(batch.count(index) == 2 for batch in indices for index in batch if index >= 0)
    trainer.train()
    logged = trainer.evaluate()
    trainer.model.eval()
    assert logged["eval_same_level/accuracy"] == sum(margin_of(trainer, row) > 0 for row in alone) / 3
    margins = [margin_of(trainer, row) for row in twins]
    assert logged["eval_twins/sum_margin"] == pytest.approx(sum(margins) / 4, abs=1e-4)
    # margins above 0 of 9, -1 and 0 are one of three; the twin does not count
    worked = same_level_sums(torch.tensor([9.0, 2.0, -1.0, 2.0, 0.0]), torch.tensor([-1, 3, -5, 3, -9]))
    assert worked.tolist() == [1, 3]


def test_a_resumed_epoch_goes_on_in_its_own_order_on_several_ranks(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(8)
    trainer = make_trainer(TwinDPOTrainer, tiny, tmp_path, rows)

    def batches(skipped: int, epoch: int) -> list[list[int]]:
        """Of the first of two ranks, as Trainer takes them."""
        batched = BatchSampler(TwinSampler([row // 2 for row in range(16)], seed=7), 2, drop_last=False)
        loader = prepare_data_loader(
            DataLoader(range(16), batch_sampler=batched), num_processes=2, process_index=0, put_on_device=False
        )
        taken: list[list[int]] = []
        run = lambda _, epoch, train_dataloader: taken.extend(  # noqa: E731
            batch.tolist() for batch in skip_first_batches(train_dataloader, skipped)
        )
        monkeypatch.setattr(DPOTrainer, "_run_epoch", run)
        trainer._run_epoch(epoch=epoch, train_dataloader=loader)
        return taken

    assert batches(2, epoch=1) == batches(0, epoch=1)[2:] != batches(2, epoch=0)


def test_order_depends_on_seed_and_epoch_only() -> None:
    orders = {}
    for seed, epoch in ((1, 0), (1, 1), (1, 0), (2, 0)):
        sampler = TwinSampler([number // 2 for number in range(40)], seed)
        sampler.set_epoch(epoch)
        assert list(sampler) == orders.setdefault((seed, epoch), list(sampler))
    assert len({tuple(order) for order in orders.values()}) == 3


@given(st.integers(0, 15), st.integers(0, 9), st.randoms(use_true_random=False), st.integers(0, 5), st.integers(0, 5))
def test_sampler_yields_every_row_once_and_twins_at_even_positions(
    n: int, alone: int, draw: Random, seed: int, epoch: int
) -> None:
    ids = [*(number // 2 for number in range(2 * n)), *(-1 - number for number in range(alone))]
    draw.shuffle(ids)
    sampler = TwinSampler(ids, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(sampler))) == list(range(2 * n + alone))
    for first, second in zip(order[::2], order[1::2], strict=False):
        assert ids[first] == ids[second] or (ids[first] < 0 and ids[second] < 0)


@pytest.mark.parametrize(
    ("margins", "twin_index", "expected"),
    [
        # twin 0: margins 2 and 1 -> both correct, sum 3, bias 0.5; twin 1: 3 and -1 -> sum 2, bias 2; two more alone
        ([2.0, 3.0, 1.0, -1.0, 9.0, 9.0], [0, 1, 0, 1, 5, 6], [1, 5, 2.5, 2]),
        ([4.0, -4.0], [3, 3], [0, 0, 4, 1]),  # a model that ignores the system prompt
        ([4.0, -4.0], [1, 2], [0, 0, 0, 0]),
    ],
)
def test_twin_metrics_worked_by_hand(margins: list[float], twin_index: list[int], expected: list[float]) -> None:
    assert twin_sums(torch.tensor(margins), torch.tensor(twin_index)).tolist() == expected


def margin_of(trainer: Any, row: dict[str, Any]) -> float:
    """beta * (log-ratio of chosen - log-ratio of rejected) of a row, from the model's full logits."""
    tokenizer, model = trainer.processing_class, trainer.model
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]

    def logp(side: str) -> float:
        ids = tokenizer.apply_chat_template(row["prompt"] + row[side], return_dict=True)["input_ids"]
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
        scores = logits.log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        return float(scores[len(prompt) - 1 :].sum())

    with torch.no_grad():
        policy = logp("chosen") - logp("rejected")
        with model.disable_adapter():
            return float(trainer.beta) * (policy - logp("chosen") + logp("rejected"))


def minus_log_sigmoid(value: float) -> float:
    return math.log1p(math.exp(-value))


@pytest.mark.parametrize("precompute", [False, True], ids=["reference", "precomputed reference"])
def test_training_moves_the_adapter_alone_and_logs_what_full_logits_say(
    tiny: str, tmp_path: Path, precompute: bool
) -> None:
    rows = make_rows(8, start=100)
    for row in rows[:2] + rows[3:4] + rows[-2:]:  # the trained model gets these wrong: two twins, and half of a third
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    options = {"evaluation": rows, "per_device_eval_batch_size": 6, "precompute_ref_log_probs": precompute}
    trainer = make_trainer(TwinDPOTrainer, tiny, tmp_path, make_rows(6), **options)
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert losses(trainer)[0] == pytest.approx(math.log(2), abs=1e-4)  # margins are 0 before training
    assert "twins/both_correct" in trainer.state.log_history[0]
    logged = trainer.evaluate()
    trainer.model.eval()
    margins = [margin_of(trainer, row) for row in rows]
    twins = list(zip(margins[::2], margins[1::2], strict=True))
    right = [a > 0 and b > 0 for a, b in twins]
    assert 0 < sum(right) < 8
    assert logged["eval_loss"] == pytest.approx(sum(minus_log_sigmoid(m) for m in margins) / 16, abs=1e-4)
    assert logged["eval_twins/both_correct"] == sum(right) / 8
    assert logged["eval_twins/sum_margin"] == pytest.approx(sum(margins) / 8, abs=1e-4)
    assert logged["eval_twins/style_bias"] == pytest.approx(sum(abs(a - b) / 2 for a, b in twins) / 8, abs=1e-4)


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no label"])
def test_completion_head_equals_trl_head_and_projects_labelled_positions_only(
    tiny: str, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    monkeypatch.setattr(trainer_module, "CPU_TILE", 100)  # several tiles, the last one short
    fields = ("log_probs", "entropy", "mean_logits", "is_top1")
    ids = torch.arange(24).reshape(2, 12) + 20
    labels = ids.clone() if labelled else torch.full_like(ids, -100)
    labels[0, :7] = labels[1, 9:] = -100  # a prompt, and padding
    projected: list[int] = []
    trl_apply = trl_utils._ChunkedLogProbFunction.apply
    spy = lambda hidden, *rest: (projected.append(len(hidden)), trl_apply(hidden, *rest))[1]  # noqa: E731
    monkeypatch.setattr(trl_utils._ChunkedLogProbFunction, "apply", spy)
    results = []
    for make_ours in (lambda model: None, trainer_module.score_completions_only):
        model = AutoModelForCausalLM.from_pretrained(tiny)
        trl_utils.add_fused_lm_head(model, outputs=fields)
        make_ours(model)
        output = model(input_ids=ids, labels=labels, fused_lm_head=True)
        output.loss.backward()
        results.append((output, model.model.layers[0].mlp.up_proj.weight.grad, model(input_ids=ids).logits))
    (plain, plain_gradient, plain_logits), (ours, gradient, logits) = results
    for name in (*fields, "loss", "label_mask"):
        torch.testing.assert_close(ours[name], plain[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-4, atol=1e-7)
    assert torch.equal(logits, plain_logits)
    assert projected == ([22, 13] if labelled else [22, 22])  # 2 x 11 next tokens; 5 + 8 of them labelled
    assert trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768
