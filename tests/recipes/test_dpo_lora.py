"""The recipe end to end on a tiny model, in this process; `make demo-smoke` starts it as a user does."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import trl
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from huggingface_hub.utils import filter_repo_objects
from peft import PeftModel
from recipe_runs import SETTINGS, go, make_workspace, read_json
from safetensors.torch import load_file
from tiny_model import make_rows, make_tokenizer, write_rows
from training import RecipeError
from training.outputs import base_licence
from training.run_files import last_checkpoint, portable_arguments, portable_values, sha256, write_json
from training.trainer import TwinDPOTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer

from cpt_tasks.check_adapter import check_adapter

RECIPES = Path(__file__).parents[2] / "recipes"
SHARD_ON_CPU = Path(__file__).parents[1] / "fakes/shard_on_cpu.py"
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
# a port that the system chooses; the fixed default can be taken, and then the processes wait for one another
TORCHRUN = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node", "2"]


def logged(folder: str, stage: str, name: str) -> list[float]:
    return [entry[name] for entry in read_json(f"{folder}/log_history.json")[stage] if name in entry]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, data and one finished run, in `out`."""
    folder = tmp_path_factory.mktemp("recipe")
    torch.set_num_threads(1)  # as in the processes that are started, so that runs agree bit for bit
    make_workspace(folder)
    samples = {"sample_prompts": 2, "sample_tokens": 8}
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS | samples), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["dpo_lora.py", "--config", "config.yaml", "--merge", "true"])
        patch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        runpy.run_path(str(RECIPES / "dpo_lora.py"), run_name="__main__")
    return folder


def test_sft_lowers_the_loss_and_dpo_separates_twins_with_sft_as_the_reference(here: Path) -> None:
    sft, dpo, margins = (logged("out", *name.split()) for name in ("sft loss", "dpo loss", "dpo twins/sum_margin"))
    assert len(sft) == len(dpo) == 3
    assert sft[-1] < sft[0]
    assert dpo[0] == pytest.approx(0.6931, abs=1e-4)  # ln 2: at the first step the policy is the reference
    assert margins[0] == pytest.approx(0, abs=1e-5)
    assert margins[-1] > 0.01
    assert logged("out", "dpo", "eval_twins/both_correct")
    folders = ("out/sft", f"{last_checkpoint(Path('out'))}/ref", "out")
    start, reference, tuned = (load_file(f"{folder}/adapter_model.safetensors") for folder in folders)
    assert start.keys() == reference.keys() == tuned.keys()
    assert all(torch.equal(start[name], reference[name]) for name in start)
    assert not any(torch.equal(start[name], tuned[name]) for name in start)
    assert not Path("out/ref").exists()
    assert Path("out/training.png").read_bytes().startswith(b"\x89PNG")


def test_adapter_loads_with_peft_and_equals_the_merged_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_json("out/adapter_config.json")["base_model_name_or_path"] == "tiny"
    ids = torch.tensor([AutoTokenizer.from_pretrained("out").encode("Write passage 3 about a harbour.")])
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained("tiny")(ids).logits
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("tiny"), "out")(ids).logits
        merged = AutoModelForCausalLM.from_pretrained("out/merged")(ids).logits
    assert (tuned - base).abs().max() > 1e-3
    torch.testing.assert_close(merged, tuned, rtol=0, atol=1e-5)
    assert check_adapter(Path("out"), None, skip_logits=False)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ok"] * 4


def test_manifest_and_card_say_what_made_the_adapter(here: Path) -> None:
    manifest = read_json("out/run_manifest.json")
    assert manifest["schema"] == read_json("out/run_state.json")["schema"] == 1
    assert manifest["argv"] == ["--config", "config.yaml", "--merge", "true"]
    assert manifest["steps"] == {"sft": 3, "dpo": 3}
    assert {kind: report["rows"] for kind, report in manifest["preflight"].items()} == {"train": 12, "eval": 4}
    assert manifest["precision"] == {"autocast": "none", "cpu_bf16_speedup": None}
    assert manifest["settings"]["dpo"]["bf16"] is False
    assert (manifest["cpu_threads"], manifest["init_adapter"], manifest["peak_memory_gib"]) == (1, None, None)
    assert manifest["chat_template_repair"] is None
    assert manifest["base_model"]["weight_sha256"]["model.safetensors"] == sha256(Path("tiny/model.safetensors"))
    assert manifest["data"]["train"]["sha256"] == sha256(Path("train.jsonl"))
    card = Path("out/README.md").read_text()
    assert "license: apache-2.0\n" in card.split("---")[1]
    assert "base_model" not in card  # a local folder is no hub name
    assert f"- `train.jsonl`, sha256 {manifest['data']['train']['sha256']}\n- `eval.jsonl`" in card
    [row] = [line.split("|")[2:4] for line in card.splitlines() if line.startswith("| eval_loss ")]
    assert [float(cell) for cell in row] == pytest.approx(
        [manifest["metrics"][stage]["eval_loss"] for stage in ("sft", "dpo")], rel=1e-3
    )
    assert "    accelerate launch recipes/dpo_lora.py --config config.yaml --merge true\n" in card
    assert "DPO" not in Path("out/sft/README.md").read_text()


def test_no_path_of_this_machine_and_no_token_in_any_readable_output(here: Path, tmp_path: Path) -> None:
    texts = [path for path in here.glob("out/**/*") if path.suffix in (".json", ".jsonl", ".md", ".jinja")]
    assert len(texts) > 10
    roots = (str(here), str(Path.home()), sys.prefix)
    assert [path.name for path in texts if any(root in path.read_text() for root in roots)] == []
    given = [f"{tmp_path}/x/data.jsonl", f"--train_file={tmp_path}/a.jsonl", str(Path.cwd() / "a/b.yaml"), "meta/model"]
    assert portable_arguments(given) == ["data.jsonl", "--train_file=a.jsonl", "a/b.yaml", "meta/model"]
    given = ["--hub_token", "hf_a", "--hub-token=hf_b", "--seed", "1"]
    assert portable_arguments(given) == ["--hub_token", "<hidden>", "--hub-token=<hidden>", "--seed", "1"]
    given = ["--model_init_kwargs", '{"token": "hf_d", "revision": "x"}']
    assert portable_arguments(given) == ["--model_init_kwargs", '{"token": "<hidden>", "revision": "x"}']
    values = {"model_init_kwargs": {"token": "hf_c"}, "run_name": "~40steps"}
    assert portable_values(values) == {"model_init_kwargs": {"token": "<hidden>"}, "run_name": "~40steps"}


@pytest.mark.slow
def test_samples_are_of_every_evaluation_and_leave_the_adapter_as_it_is_without(here: Path) -> None:
    # not splitlines(): a text may hold characters that it takes for the end of a line
    samples = [json.loads(line) for line in Path("out/samples.jsonl").read_text(encoding="utf-8").rstrip().split("\n")]
    # SFT evaluates once an epoch, DPO every three steps, and it has three
    assert [(sample["stage"], sample["step"]) for sample in samples] == [("sft", 3)] * 2 + [("dpo", 3)] * 2
    assert [sample["prompt"] for sample in samples[:2]] == [sample["prompt"] for sample in samples[2:]]
    assert {tuple(sample) for sample in samples} == {("stage", "step", "rubric", "level", "prompt", "response")}
    go(output_dir="unsampled")
    assert sha256("out/adapter_model.safetensors") == sha256("unsampled/adapter_model.safetensors")
    assert logged("out", "dpo", "loss") == logged("unsampled", "dpo", "loss")


ODD = """
from transformers import LlamaConfig, LlamaForCausalLM


class OddConfig(LlamaConfig):
    model_type = "odd"


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


def test_code_of_the_model_itself_is_run_where_it_is_trusted(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    shutil.copytree("tiny", "own_code")
    code = {"AutoConfig": "odd.OddConfig", "AutoModelForCausalLM": "odd.OddForCausalLM"}
    write_json(
        Path("own_code/config.json"), read_json("own_code/config.json") | {"model_type": "odd", "auto_map": code}
    )
    Path("own_code/odd.py").write_text(ODD)
    options = {"model_name_or_path": "own_code", "output_dir": "trusted", "eval_strategy": "no", "max_steps": 1}
    go(**options, trust_remote_code=True)  # SFT loads the model by TRL, DPO with the adapter of SFT on it
    assert logged("trusted", "dpo", "loss")
    go(**options, trust_remote_code=True, estimate=True)


@pytest.mark.slow
def test_losses_of_two_threads_are_those_of_one(here: Path) -> None:
    go(output_dir="threads", cpu_threads=2)
    assert torch.get_num_threads() == read_json("threads/run_manifest.json")["cpu_threads"] == 2
    for stage, name in (("sft", "loss"), ("dpo", "loss"), ("dpo", "eval_loss"), ("dpo", "twins/sum_margin")):
        assert logged("threads", stage, name) == pytest.approx(logged("out", stage, name), abs=1e-4)
    torch.set_num_threads(1)


def test_dry_run_and_second_start_train_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(output_dir="dry", dry_run=True)
    assert json.loads(capsys.readouterr().out)["preflight"]["train"]["rows"] == 12
    assert not Path("dry").exists()
    before = Path("out/adapter_model.safetensors").stat().st_mtime_ns
    shutil.rmtree("out/merged")
    go(merge=True, output_dir=str(here / "out"))  # which is then made
    assert "finished already" in capsys.readouterr().err
    assert Path("out/merged/model.safetensors").exists()
    assert Path("out/merged/tokenizer.json").exists()
    assert Path("out/adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RecipeError, match="out: holds a finished run of other data or settings"):
        go(beta=0.2)


def test_sft_stage_is_reused_for_other_dpo_settings_and_trained_anew_for_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("out/sft", "reused/sft")
    go(output_dir="reused", beta=0.2, eval_strategy="no")
    assert "reused/sft: SFT stage is complete, reused" in capsys.readouterr().err
    assert Path("reused/sft/run_state.json").read_text() == Path("out/sft/run_state.json").read_text()
    shutil.copytree("out/sft", "anew/sft")
    go(output_dir="anew", sft_learning_rate=0.02, num_train_epochs=0, eval_strategy="no")
    assert "anew/sft: SFT stage of other data or settings, trained anew" in capsys.readouterr().err
    assert Path("anew/sft/run_state.json").read_text() != Path("out/sft/run_state.json").read_text()
    # no epoch of DPO leaves the SFT adapter
    sft, final = (load_file(f"anew/{name}adapter_model.safetensors") for name in ("sft/", ""))
    assert all(torch.equal(sft[name], final[name]) for name in sft)
    assert list(read_json("anew/run_manifest.json")["metrics"]) == ["sft"]


def test_metrics_are_those_of_the_checkpoint_that_is_kept(here: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_twins/style_bias", "eval_steps": 1}
    go(**best, output_dir="best", save_steps=1, num_train_epochs=2)
    *each, last = logged("best", "dpo", "eval_twins/style_bias")
    assert len(each) == 6
    assert max(each) == last != each[-1]
    assert read_json("best/run_manifest.json")["metrics"]["dpo"]["eval_twins/style_bias"] == last


def test_folded_template_is_trained_saved_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("tiny", "tiny-gemma")
    gemma = (Path(trl.__file__).parent / "chat_templates/gemma.jinja").read_text()
    dated = "{{ strftime_now('%d %b %Y') }}" + gemma.replace("<end_of_turn>", "<|im_end|>")
    make_tokenizer(dated).save_pretrained("tiny-gemma")
    go(model_name_or_path="tiny-gemma", output_dir="folded", max_steps=1, sft_epochs=0)
    assert "chat template repaired: system text folded into the user turn" in capsys.readouterr().err
    assert read_json("folded/run_manifest.json")["chat_template_repair"].startswith("system text folded")
    assert read_json("folded/run_manifest.json")["chat_template_date"] == "2024-07-26"
    card = Path("folded/README.md").read_text()
    assert "chat template was repaired: system text folded" in card
    assert "- DPO on twins, 0.33 epochs, beta 0.1\n" in card
    system, user = make_rows(1)[0]["prompt"]
    text = AutoTokenizer.from_pretrained("folded").apply_chat_template([system, user], tokenize=False)
    assert f"user\n{system['content']}\n\n{user['content']}<|im_end|>" in text
    assert check_adapter(Path("folded"), None, skip_logits=True)


class FakeHub:
    """Takes what an adapter folder sends up; refuses a wrong token."""

    sent: list[str]

    def __init__(self, token: str) -> None:
        self.token = token

    def create_repo(self, name: str, private: bool, exist_ok: bool) -> Any:
        if self.token != "hf_right":
            raise OSError("401 Client Error\nno token")
        assert (name, private, exist_ok) == ("out", True, True)
        return SimpleNamespace(repo_id="me/out")

    def upload_folder(self, repo_id: str, folder_path: Path, ignore_patterns: list[str], **_: Any) -> Any:
        names = [str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file()]
        FakeHub.sent = sorted(filter_repo_objects(names, ignore_patterns=ignore_patterns))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/abc")


def test_a_finished_run_is_uploaded_without_checkpoints_and_a_refusal_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    options = {"merge": True, "push_to_hub": True, "hub_private_repo": True}
    go(**options, hub_token="hf_right")
    assert capsys.readouterr().err.endswith("dpo_lora: uploaded: https://hub/me/out/commit/abc\n")
    records = ["log_history.json", "run_manifest.json", "samples.jsonl", "training.png"]
    adapter = ["adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"]
    assert FakeHub.sent == sorted(["README.md", *adapter, *records, "tokenizer.json", "tokenizer_config.json"])
    with pytest.raises(RecipeError, match="out: .*not uploaded .OSError: 401 Client Error no token.; the same"):
        go(**options, hub_token="hf_wrong")


def test_licence_is_left_out_where_nobody_states_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A model\n")
    names = (str(tmp_path), str(tmp_path.parent), "nobody/such-a-model")
    assert [base_licence(name) for name in names] == [None] * 3


def test_a_run_goes_on_from_an_adapter_and_that_is_the_reference_of_dpo(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"init_adapter": "out", "eval_strategy": "no", "save_steps": 1, "sample_prompts": 1, "sample_tokens": 4}
    go(**options, output_dir="round", sft_epochs=0)
    assert logged("round", "dpo", "loss")[0] == pytest.approx(0.6931, abs=1e-4)  # ln 2: the start is the reference
    start, reference = (load_file(f"{name}/adapter_model.safetensors") for name in ("out", "round/checkpoint-1/ref"))
    assert all(torch.equal(start[name], reference[name]) for name in start)
    assert read_json("round/run_manifest.json")["init_adapter"] == {
        "name": "out",
        "sha256": sha256("out/adapter_model.safetensors"),
    }
    assert "- DPO on twins, 1 epochs, beta 0.1, from the adapter out\n" in Path("round/README.md").read_text()
    # SFT goes on from it, too
    go(**options, output_dir="tuned", num_train_epochs=0)
    assert logged("tuned", "sft", "loss")[0] < logged("out", "sft", "loss")[-1]
    # as a kill leaves it: the last checkpoint is not whole
    shutil.copytree("round", "again")
    for name in ("again/run_state.json", "again/checkpoint-3/trainer_state.json", "again/adapter_model.safetensors"):
        Path(name).unlink()
    go(**options, output_dir="again", sft_epochs=0)
    assert "DPO stage goes on from again/checkpoint-2" in capsys.readouterr().err
    again, whole = (load_file(f"{name}/adapter_model.safetensors") for name in ("again", "round"))
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert Path("again/samples.jsonl").read_bytes() == Path("round/samples.jsonl").read_bytes()  # none is there twice


def test_a_run_killed_after_its_last_step_trains_no_more(here: Path) -> None:
    options = {"output_dir": "ended", "sft_epochs": 0, "max_steps": 2, "save_steps": 1, "eval_strategy": "no"}
    options |= {"lr_scheduler_type": "constant", "sample_prompts": 0}
    go(**options)
    weights = Path("ended/adapter_model.safetensors")
    before = sha256(weights)
    for name in ("run_state.json", "adapter_model.safetensors"):
        Path("ended", name).unlink()
    go(**options)
    assert (sha256(weights), read_json("ended/run_manifest.json")["steps"]) == (before, {"dpo": 2})


@pytest.mark.slow
def test_reference_computed_once_gives_the_same_losses_and_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    compute = TwinDPOTrainer.compute_ref_log_probs
    spy = lambda self, *rest: (computed.append(len(rest)), compute(self, *rest))[1]  # noqa: E731
    monkeypatch.setattr(TwinDPOTrainer, "compute_ref_log_probs", spy)
    options = {"init_adapter": "out", "sft_epochs": 0, "num_train_epochs": 3, "precompute_ref_log_probs": True}
    go(**options, output_dir="once")
    assert len(computed) == 4  # twelve rows in batches of four, and the four of the evaluation; not three times
    go(**options | {"precompute_ref_log_probs": False}, output_dir="every")
    for name in ("loss", "eval_loss", "twins/sum_margin"):
        assert logged("once", "dpo", name) == pytest.approx(logged("every", "dpo", name), abs=1e-5)
    assert logged("once", "dpo", "loss")[0] == pytest.approx(0.6931, abs=1e-4)  # of the adapter, not of the base
    for path in ("once/run_state.json", *Path("once").glob("checkpoint-9/trainer_state.json")):
        Path(path).unlink()
    computed.clear()
    go(**options, output_dir="once")
    assert not computed


@pytest.mark.slow
def test_plain_preference_pairs_train_as_shuffled_dpo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in make_rows(6)]
    write_rows(Path("plain.jsonl"), rows)
    options = {"train_file": "plain.jsonl", "eval_file": "", "eval_strategy": "no", "sft_epochs": 0}
    go(**options, output_dir="plain")
    assert "plain.jsonl: no column pair_id, so plain preference pairs: shuffled DPO, no" in capsys.readouterr().err
    manifest = read_json("plain/run_manifest.json")
    assert manifest["settings"]["dpo"]["twin_batching"] is False
    assert not [name for name in read_json("plain/log_history.json")["dpo"][0] if "twins/" in name]
    assert "- DPO on plain preference pairs, 1 epochs, beta 0.1\n" in Path("plain/README.md").read_text()
    # the same rows as twins, shuffled, give the same losses
    go(**options | {"train_file": "train.jsonl"}, output_dir="shuffled", twin_batching=False)
    assert logged("plain", "dpo", "loss") == logged("shuffled", "dpo", "loss")


@pytest.mark.slow
def test_two_processes_train_the_same_losses_as_one(here: Path) -> None:
    write_rows(here / "eval3.jsonl", make_rows(3, start=200))  # of whose rows the last batch is filled up
    one = {"sft_epochs": 0, "ddp_find_unused_parameters": False, "output_dir": "one", "eval_file": "eval3.jsonl"}
    half = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "output_dir": "two"}
    (here / "two.yaml").write_text(yaml.safe_dump(SETTINGS | one | half))
    command = [*TORCHRUN, str(RECIPES / "dpo_lora.py"), "--config", "two.yaml"]
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=200)
    go(**one)
    for key in ("loss", "twins/sum_margin", "eval_loss", "eval_twins/sum_margin", "eval_twins/style_bias"):
        assert logged("one", "dpo", key) == pytest.approx(logged("two", "dpo", key), abs=1e-4)
        assert logged("one", "dpo", key)
    assert not Path("one/sft").exists()
    assert not Path(f"{last_checkpoint(Path('one'))}/ref").exists()
    assert list(read_json("one/run_manifest.json")["metrics"]) == ["dpo"]


def run_sharded(folder: Path, **changes: Any) -> None:
    """Trains in two processes with the settings of `fsdp2.yaml`."""
    half = {"sft_batch_size": 2, "per_device_train_batch_size": 2, "per_device_eval_batch_size": 2}
    (folder / "sharded.yaml").write_text(yaml.safe_dump(SETTINGS | changes | half))
    launch = ["--config_file", str(RECIPES / "accelerate/fsdp2.yaml"), "dpo_lora.py"]
    fsdp2 = prepare_multi_gpu_env(_validate_launch_command(launch_command_parser().parse_args(launch))[0])
    command = [*TORCHRUN, str(SHARD_ON_CPU), str(RECIPES / "dpo_lora.py"), "--config", "sharded.yaml"]
    subprocess.run(command, env=ENVIRONMENT | fsdp2, check=True, timeout=200)


@pytest.mark.slow
def test_sharded_processes_sum_log_probabilities_in_float32_under_bfloat16(here: Path) -> None:
    options = {"max_steps": 3, "sft_epochs": 0, "cpu_bf16": "on"}
    run_sharded(here, **options, output_dir="sharded_bf16")
    go(**options, output_dir="unsharded_bf16")
    losses = logged("sharded_bf16", "dpo", "loss")
    assert losses == pytest.approx(logged("unsharded_bf16", "dpo", "loss"), abs=0.01)
    assert torch.tensor(losses).bfloat16().tolist() != losses


@pytest.mark.slow
def test_sharded_processes_train_the_losses_of_one_and_go_on_to_the_same_adapter(here: Path) -> None:
    options = {"max_steps": 2, "save_steps": 1, "cpu_bf16": "off"}
    run_sharded(here, **options, output_dir="sharded")
    assert Path("sharded/checkpoint-2/pytorch_model_fsdp.bin").exists()
    whole = load_file("sharded/adapter_model.safetensors")
    for name in ("run_state.json", "checkpoint-2/trainer_state.json", "adapter_model.safetensors"):
        (here / "sharded" / name).unlink()
    run_sharded(here, **options, output_dir="sharded")
    again = load_file("sharded/adapter_model.safetensors")
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    go(**options, output_dir="unsharded")
    for stage, name in (("sft", "loss"), ("dpo", "loss"), ("dpo", "twins/sum_margin"), ("dpo", "eval_loss")):
        assert logged("sharded", stage, name) == pytest.approx(logged("unsharded", stage, name), abs=1e-4)
