"""Local models on a CPU by OpenVINO GenAI, as an inspect provider: `openvino/NAME` in place of `hf/NAME`.

    inspect eval cpt_tasks/rubric_adherence --model openvino/local -M model_path=DIR -T preset=measured

All requests in flight share one batch: a finished one makes room for the next at the following token.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import anyio
import numpy as np
import openvino
import openvino_genai as genai
from anyio import from_thread, lowlevel
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import AutoTokenizer

from model_calls.call import text_of
from model_calls.inspect_private import PrerequisiteError, sample_name
from model_calls.openvino_export import export, local_folder

MAX_TOKENS = 2048  # of a response, as of hf/
MAX_CONNECTIONS = 128
TOKENS_PER_STEP = 2048  # of all sequences together, prompts included
EVERY_TOKEN = 2**31  # as top_k
POLL_SECONDS = 0.2


class OpenVINO(ModelAPI):
    """A transformers model, or a PEFT adapter merged into its base model, that answers on the CPU.

    It samples as `hf/` does: by the model's generation config where nothing else is asked, and with top_k=50 where that
    says nothing. Temperature 0 is greedy. The prompt is what the chat template writes, without a further
    beginning-of-sequence token.

    Args:
        model_name: Its name in logs; without `model_path` also its folder, or its name on the hub.
        base_url: Unused, as is the next.
        api_key: Unused.
        config: Settings; `max_connections` is the most sequences in the batch (default 128).
        model_path: Model folder, or adapter folder whose `adapter_config.json` names its base model.
        tokenizer_path: Folder of the tokenizer and its chat template. Default: that of the model.
        precision: bf16 or f32. Default: bf16 where the CPU computes in it.

    Raises:
        PrerequisiteError: If the model has no chat template or cannot be run like this.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        model_path: str | None = None,
        tokenizer_path: str | None = None,
        precision: Literal["bf16", "f32"] | None = None,
    ) -> None:
        config = config or GenerateConfig()
        super().__init__(model_name, base_url, api_key, [], config)
        if precision not in (None, "bf16", "f32"):
            raise PrerequisiteError(f"-M precision={precision}: expected bf16 or f32")
        has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = precision or ("bf16" if has_bf16 else "f32")
        folder = local_folder(model_path or model_name)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_path or folder)
        if not self.tokenizer.chat_template:
            raise PrerequisiteError(f"{tokenizer_path or folder}: no chat template, pass -M tokenizer_path= with one")
        self.tokenizer_call_args = {"add_special_tokens": False}
        try:
            graph = export(folder, compress=self.precision == "bf16")
        except ValueError as error:
            raise PrerequisiteError(str(error)) from error
        self._batch = _Batch(graph, self.precision, config.max_connections or MAX_CONNECTIONS)
        self._defaults = graph / "generation_config.json"
        self._seed = int.from_bytes(os.urandom(4))
        self._asked = Counter[str]()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The response; its stop reason is "max_tokens" if it was cut, and no padding counts as usage.

        Raises:
            ValueError: If tools or logprobs are asked for, or a message holds anything but text.
        """
        if tools or config.logprobs:
            raise ValueError(f"openvino/{self.model_name}: got tools or logprobs, which this provider has not; use hf/")
        start = time.monotonic()
        chat = self.hf_chat(input, [])
        prompt = self.tokenizer(chat, **self.tokenizer_call_args)["input_ids"]
        stops = config.stop_seqs or []

        def is_stopped(tokens: list[int]) -> bool:
            return bool(stops) and any(stop in self._text(tokens) for stop in stops)

        request = _Request(prompt, self._sampling(chat, config), is_stopped)
        await self._batch.answer(request)
        text = self._text(request.tokens)
        output = ModelOutput.from_content(self.model_name, text, "max_tokens" if request.was_cut else "stop")
        counts = {"input_tokens": len(prompt), "output_tokens": len(request.tokens)}
        output.usage = ModelUsage(**counts, total_tokens=sum(counts.values()))
        output.time = time.monotonic() - start
        output.metadata = {"precision": self.precision}
        return output

    def hf_chat(self, messages: Sequence[ChatMessage], tools: Sequence[ToolInfo]) -> str:
        """A chat as the model reads it; named as in inspect's provider `hf`, as are `tokenizer` and its arguments."""
        turns = [{"role": message.role, "content": text_of(message)} for message in messages]
        # None is what `hf/` passes where nothing is asked: the template's own default
        options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": None}
        return str(self.tokenizer.apply_chat_template(turns, **options))

    def max_tokens(self) -> int:
        """Tokens of a response, where nothing else is asked."""
        return MAX_TOKENS

    def max_connections(self) -> int:
        """Requests in one batch."""
        return MAX_CONNECTIONS

    def collapse_user_messages(self) -> bool:
        """As of `hf/`."""
        return True

    def close(self) -> None:
        """Ends the thread of the batch."""
        self._batch.close()

    def _text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _sampling(self, chat: str, config: GenerateConfig) -> Any:
        settings = genai.GenerationConfig(str(self._defaults))
        settings.apply_chat_template = False
        settings.max_new_tokens = config.max_tokens or MAX_TOKENS
        settings.do_sample = config.temperature != 0
        if config.temperature:
            settings.temperature = config.temperature
        if config.top_p is not None:
            settings.top_p = config.top_p
        if config.top_k is not None:
            settings.top_k = config.top_k or EVERY_TOKEN
        settings.rng_seed = self._seed_of(chat, config.seed)
        settings.validate()
        return settings

    def _seed_of(self, chat: str, seed: int | None) -> int:
        """Of the seed asked for, the sample and the prompt; another each time that these are the same."""
        asked = repr((self._seed if seed is None else seed, sample_name(), chat))
        self._asked[asked] += 1
        digest = blake2b(f"{self._asked[asked]} {asked}".encode("utf-8", "surrogatepass"), digest_size=4)
        return int.from_bytes(digest.digest())


@dataclass(eq=False)
class _Request:
    """A prompt, how to go on from it and when to stop; and the tokens that came so far."""

    prompt: list[int]
    settings: Any
    is_stopped: Callable[[list[int]], bool]
    tokens: list[int] = field(default_factory=list)
    was_cut: bool = False
    handle: Any = None
    is_left: bool = False  # by whoever waited
    is_done: bool = False
    error: Exception | None = None

    def advance(self) -> bool:
        """Takes what came with a step; whether more is to come."""
        while self.handle.can_read():
            [part] = self.handle.read().values()
            self.tokens += part.generated_ids
            self.was_cut = part.finish_reason == genai.GenerationFinishReason.LENGTH
        status = self.handle.get_status()
        if status == genai.GenerationStatus.IGNORED:
            self.end(RuntimeError("no memory is left for keys and values, pass a smaller --max-connections"))
            return False
        if status == genai.GenerationStatus.RUNNING and not self.is_left and not self.is_stopped(self.tokens):
            return True
        self.end()
        return False

    def end(self, error: Exception | None = None) -> None:
        """Leaves the batch, and lets whoever waits go on."""
        if self.handle is not None:
            self.handle.cancel()
        self.error, self.is_done = error, True


class _Batch:
    """A batch that a thread of its own steps token by token, while there is anything to do."""

    def __init__(self, graph: Path, precision: str, size: int) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_seqs = size
        scheduler.max_num_batched_tokens = max(TOKENS_PER_STEP, size)
        scheduler.enable_prefix_caching = False  # it would keep the keys and values of all that was ever asked
        # no number of threads or streams: with one of either, 2026.4 crashes on some machines
        options = {"INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision}
        self._pipeline: Any = genai.ContinuousBatchingPipeline(str(graph), scheduler, "CPU", options)
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()
        self._loop: lowlevel.EventLoopToken | None = None
        Thread(target=self._work, daemon=True).start()

    async def answer(self, request: _Request) -> None:
        """Fills in the tokens of a request; it leaves the batch early if whoever waits here is cancelled."""
        self._loop = lowlevel.current_token()
        self._waiting.put(request)
        try:
            while not request.is_done:
                await anyio.sleep(POLL_SECONDS)
        finally:
            request.is_left = True
        if request.error:
            raise request.error

    def close(self) -> None:
        """Ends the thread."""
        self._waiting.put(None)

    def _work(self) -> None:
        running: list[_Request] = []
        numbers = count()
        while True:
            arrived = [self._waiting.get()] if not running else []
            while not self._waiting.empty():
                arrived.append(self._waiting.get())
            if None in arrived:
                return
            running += filter(None, arrived)
            try:
                for request in running:
                    if request.handle is None:
                        tokens = openvino.Tensor(np.array([request.prompt], dtype=np.int64))
                        request.handle = self._pipeline.add_request(next(numbers), tokens, request.settings)
                self._pipeline.step()
                running = [request for request in running if request.advance()]
                # a step keeps the interpreter to itself, so between two the others have their turn: responses are
                # logged and scored, and the next turns of conversations asked, as fast as they come
                with suppress(anyio.RunFinishedError):
                    from_thread.run_sync(int, token=self._loop)
            except Exception as error:  # a thread has nobody above it: those who wait get it
                for request in running:
                    if not request.is_done:
                        request.end(error)
                running = []
