"""A local model is not benchmarked on chats that its template mangles: real tokenizers, and one real tiny model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.rendering import rendering_problem

pytest.importorskip("torch")
from tiny_model import CHATML, make_tokenizer, save_tiny_model  # noqa: E402

CHAT = [ChatMessageSystem(content="Write in short sentences. "), ChatMessageUser(content="Describe a storm.")]
DROPS_SYSTEM = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
# as Gemma's own advice for a system prompt, and Mistral's template: the text goes into the user's turn
FOLDS_SYSTEM = "[INST]{{ messages[0]['content'] }}\n\n{{ messages[1]['content'] }}[/INST]"


def api(template: str, adds_bos: bool = False, **arguments: Any) -> Any:
    tokenizer = make_tokenizer(template)
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])

    def hf_chat(messages: list[Any], tools: list[Any]) -> str:
        turns = [{"role": message.role, "content": message.text} for message in messages]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    return SimpleNamespace(hf_chat=hf_chat, tokenizer=tokenizer, tokenizer_call_args=arguments)


@pytest.mark.parametrize("template", [CHATML, FOLDS_SYSTEM])
def test_a_template_that_shows_every_turn_passes(template: str) -> None:
    assert rendering_problem(api(template), CHAT) == ""


def test_a_template_that_drops_the_system_turn_is_named() -> None:
    assert "leaves out the system turn" in rendering_problem(api(DROPS_SYSTEM), CHAT)


def test_a_second_bos_is_named_and_the_setting_that_mends_it_passes() -> None:
    assert "two beginning-of-sequence tokens" in rendering_problem(api(CHATML, adds_bos=True), CHAT)
    assert rendering_problem(api(CHATML, adds_bos=True, add_special_tokens=False), CHAT) == ""


def test_a_model_behind_an_api_passes() -> None:
    assert rendering_problem(SimpleNamespace(), CHAT) == ""


def test_the_benchmark_of_a_local_model_stops_before_it_generates(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny", DROPS_SYSTEM)
    model = get_model("hf/tiny", model_path=folder, tokenizer_path=folder, memoize=False)
    task = rubric_adherence("reverie", judge="measured", limit_per_cell=1)
    [log] = inspect_eval(task, model=model, display="none", max_tokens=4)
    assert log.status == "error"
    assert log.error is not None
    assert "leaves out the system turn" in log.error.message
    assert not log.stats.model_usage
