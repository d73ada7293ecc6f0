"""`openvino/NAME` answers as transformers does, in one batch; made of a tiny Llama, with and without an adapter."""

# ruff: noqa: E402 (imports follow the importorskip)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from command_runs import inspect

pytest.importorskip("openvino_genai")
pytest.importorskip("peft")
import torch
from harness_rendering import by_inspect
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, Model, get_model
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_model import CHATML, make_tokenizer, save_tiny_model
from transformers import AutoModelForCausalLM

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from model_calls import Call, ask, open_store
from model_calls.inspect_private import PrerequisiteError

CHATS = [
    [ChatMessageSystem(content="Write in short sentences."), ChatMessageUser(content="Describe a storm.")],
    [ChatMessageUser(content="Write passage 1 about a kettle. " * 12)],
    [ChatMessageUser(content="A letter.")],
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model `tiny` and an `adapter` of it with random weights."""
    folder = tmp_path_factory.mktemp("made")
    save_tiny_model(folder / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder / "tiny")
    with torch.no_grad():  # as it is it repeats one token for ever, whatever it reads
        for name, weight in model.named_parameters():
            weight *= 10 if "proj" in name else 1
    model.save_pretrained(folder / "tiny")
    # `lora_alpha` is not r, so that an adapter merged without its scale gives other tokens
    options: dict[str, Any] = {"target_modules": ["q_proj", "v_proj", "down_proj"], "init_lora_weights": False}
    lora = LoraConfig(r=4, lora_alpha=16, task_type="CAUSAL_LM", **options)
    get_peft_model(model, lora).save_pretrained(folder / "adapter")
    return folder


def model_of(folder: Path, made: Path, **settings: Any) -> Model:
    arguments = {"model_path": str(folder), "tokenizer_path": str(made / "tiny"), "precision": "f32"}
    return get_model("openvino/x", memoize=False, config=GenerateConfig(**settings), **arguments)


def answers(model: Model, chats: list[Any] = CHATS, **settings: Any) -> list[Any]:
    """Outputs to chats that are asked at the same time."""
    outputs: list[Any] = [None] * len(chats)

    async def one(number: int) -> None:
        outputs[number] = await model.generate(chats[number], config=GenerateConfig(**settings))

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for number in range(len(chats)):
                group.start_soon(one, number)

    anyio.run(all_of_them)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "adapter"])
def test_greedy_responses_are_those_of_transformers_also_of_a_second_start(made: Path, name: str) -> None:
    tokenizer = make_tokenizer()
    reference: Any = AutoModelForCausalLM.from_pretrained(made / "tiny")
    if name == "adapter":
        reference = PeftModel.from_pretrained(reference, str(made / "adapter"))
    expected = []
    for chat in CHATS:
        turns = [{"role": turn.role, "content": turn.text} for turn in chat]
        prompt = tokenizer(by_inspect(tokenizer, turns), add_special_tokens=False, return_tensors="pt")
        tokens = reference.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        expected.append((text, prompt["input_ids"].shape[1], len(tokens)))
    assert len({text[:20] for text, _, _ in expected}) == len(CHATS)
    exported = []
    for _ in range(2):
        outputs = answers(model_of(made / name, made), temperature=0.0, max_tokens=24)
        got = [(one.completion, one.usage.input_tokens, one.usage.output_tokens) for one in outputs]
        assert got == expected
        exported.append([path.stat().st_ino for path in (made / name / ".openvino").glob("*/*.bin")])
    assert exported[0] == exported[1] != []


def test_samples_of_a_prompt_differ_and_a_rerun_repeats_them(made: Path) -> None:
    runs = []
    for seed in (1, 1, 2):
        outputs = answers(model_of(made / "tiny", made, seed=seed), [CHATS[0]] * 3, max_tokens=24)
        runs.append({output.completion for output in outputs})
    assert len(runs[0]) == 3
    assert runs[0] == runs[1]
    assert not runs[0] & runs[2]


def test_a_sample_has_the_same_text_alone_and_among_others(made: Path) -> None:
    def texts(epochs: int, *ids: str) -> dict[tuple[Any, int], str]:
        task = Task([Sample(id=one, input="A letter.") for one in ids])
        [log] = inspect_eval(task, model=model_of(made / "tiny", made), epochs=epochs, seed=5, max_tokens=24)
        return {(sample.id, sample.epoch): sample.output.completion for sample in log.samples or ()}

    every = texts(2, "a", "b")
    assert len(set(every.values())) == 4
    assert texts(1, "b")["b", 1] == every["b", 1]


def test_replicates_differ_also_when_another_process_asks_for_the_second(made: Path, tmp_path: Path) -> None:
    async def text(replicate: str, file: str) -> str:
        call = Call(model_of(made / "tiny", made), CHATS[0], GenerateConfig(max_tokens=24), replicate)
        return (await ask(open_store(tmp_path / file), call))[0].text

    first, second, alone = (anyio.run(text, *asked) for asked in (("0", "a"), ("1", "a"), ("1", "b")))
    assert first != second == alone


def test_a_reply_says_whether_it_was_cut_and_stops_at_a_stop_sequence(made: Path) -> None:
    model = model_of(made / "tiny", made)
    [long] = answers(model, CHATS[:1], temperature=0.0, max_tokens=24)
    assert (long.stop_reason, long.usage.output_tokens) == ("max_tokens", 24)
    [stopped] = answers(model, CHATS[:1], temperature=0.0, max_tokens=24, stop_seqs=[long.completion[2:5]])
    assert stopped.stop_reason == "stop"
    assert long.completion.startswith(stopped.completion)
    assert long.completion[2:5] in stopped.completion
    assert stopped.usage.output_tokens < 24


def test_a_cancelled_request_leaves_room_for_the_next(made: Path) -> None:
    model = model_of(made / "tiny", made, max_connections=1)

    async def cancelled_then_asked() -> str:
        with anyio.move_on_after(0.5):
            await model.generate(CHATS[0], config=GenerateConfig(max_tokens=100_000))
        with anyio.fail_after(20):
            return (await model.generate(CHATS[0], config=GenerateConfig(max_tokens=4))).stop_reason

    assert anyio.run(cancelled_then_asked) == "max_tokens"


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ({"sliding_window": 16, "model_type": "mistral"}, {}, "got layers of sliding_attention, expected full_att"),
        ({"layer_types": ["full_attention", "linear_attention"]}, {}, "got layers of linear_attention, expected"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, {}, "got rope_type dynamic"),
        ({}, {"precision": "int8"}, "-M precision=int8: expected bf16 or f32"),
    ],
)
def test_what_would_come_out_wrong_is_refused(
    tmp_path: Path, config: dict[str, Any], arguments: dict[str, str], message: str
) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    path = tmp_path / "tiny" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(PrerequisiteError, match=message):
        get_model("openvino/x", memoize=False, model_path=folder, **arguments)


def test_a_benchmark_stops_before_it_generates_where_the_template_drops_a_turn(made: Path, tmp_path: Path) -> None:
    template = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
    make_tokenizer(template).save_pretrained(tmp_path / "tiny")
    task = rubric_adherence("reverie", judge="measured", limit_per_cell=1)
    [log] = inspect_eval(task, model=model_of(made / "tiny", tmp_path), display="none", max_tokens=4)
    assert log.error is not None and "leaves out the system turn" in log.error.message
    assert not log.stats.model_usage


def test_without_the_extra_one_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_genai", None)
    monkeypatch.delitem(sys.modules, "model_calls.openvino", raising=False)
    with pytest.raises(PrerequisiteError, match=r"pip install 'cpt-tasks\[openvino\]'"):
        get_model("openvino/x", memoize=False, model_path="nowhere")


@pytest.mark.slow
def test_the_command_runs_as_it_is_written(made: Path, tmp_path: Path) -> None:
    words = "eval cpt_tasks/rubric_adherence --model openvino/x -T judge=measured -T rubrics=measured --limit 2"
    folders = ["-M", f"model_path={made}/adapter", "-M", f"tokenizer_path={made}/tiny", "--log-dir", f"{tmp_path}/logs"]
    # at home openvino would leave a number for its reports
    inspect(*words.split(), *folders, "--max-tokens", 40, cwd=tmp_path, HOME=str(tmp_path))
    assert not (tmp_path / "intel").exists()
    [path] = list_eval_logs(f"{tmp_path}/logs")
    log = read_eval_log(path)
    assert log.status == "success" and log.samples
    assert {sample.output.stop_reason for sample in log.samples} <= {"max_tokens", "stop"}
    assert log.eval.packages.keys() >= {"cpt-tasks"}
