"""Finds rows that hold a prompt of a benchmark: a student trained on them would have seen what it is tested on.

A user prompt is contaminated if it is a benchmark prompt, contains one of five words or more whole, or is a near copy
of one (Jaccard of three-word shingles, as in `near_duplicates.py`, but computed against every benchmark prompt, so that
none is missed). A response is contaminated likewise, or if it shares a run of eight words with a benchmark prompt that
its own user prompt does not have: a response may echo what it was asked, and train and test prompts are phrased alike.
"""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from data_gen.responses import read_lines
from data_gen.verification.near_duplicates import SHINGLE_WORDS, Hashes, runs, word_hashes, words_of

MIN_CONTAINED_WORDS = 5  # shorter questions ("What causes earthquakes?") turn up in texts about something else
SHARED_RUN_WORDS = 8
NEAR_PROMPT = 0.8
TEXT_FIELDS = ("prompt", "text", "question")


class Contamination:
    """Looks for benchmark prompts in rows.

    Args:
        prompts: Benchmark prompts by id; ids serve for messages, and a row whose prompt has one of `reserved` is
            contaminated whatever its text.
        reserved: Ids of user prompts that stand for benchmark prompts in rows, too.
    """

    def __init__(self, prompts: Mapping[str, str], reserved: frozenset[str] = frozenset()):
        self._reserved = reserved
        self._whole: dict[str, str] = {}
        self._contained: dict[int, list[str]] = defaultdict(list)  # prompts in plain words by hash of the first five
        self._runs: dict[int, str] = {}
        self._by_shingle: dict[int, list[str]] = defaultdict(list)
        self._sizes: dict[str, int] = {}
        for user_prompt_id, text in prompts.items():
            words = words_of(text)
            hashes = word_hashes(words)
            self._whole.setdefault(" ".join(words), user_prompt_id)
            if len(words) >= MIN_CONTAINED_WORDS:
                self._contained[int(runs(hashes, MIN_CONTAINED_WORDS)[0])].append(" ".join(words))
            if len(words) >= SHARED_RUN_WORDS:
                self._runs |= dict.fromkeys(runs(hashes, SHARED_RUN_WORDS).tolist(), user_prompt_id)
            own = set(runs(hashes, SHINGLE_WORDS).tolist())
            self._sizes[user_prompt_id] = len(own)
            for shingle in own:
                self._by_shingle[shingle].append(user_prompt_id)
        self._in_order_of_size = sorted(self._sizes.values())
        self._in_prompt = lru_cache(maxsize=100_000)(self._find_in_prompt)

    def find(self, user_prompt_id: str, prompt: str, response: str) -> str:
        """What is contaminated in a row and by which benchmark prompt; "" if nothing is."""
        if user_prompt_id in self._reserved:
            return f"its user prompt has the id of the benchmark prompt {user_prompt_id!r}"
        found, own_runs = self._in_prompt(prompt)
        return found or self._find_in_response(response, own_runs)

    def _find_in_prompt(self, prompt: str) -> tuple[str, frozenset[int]]:
        words = words_of(prompt)
        hashes = word_hashes(words)
        found = self._like("its user prompt", words, hashes) or self._containing("its user prompt", words, hashes)
        return found, frozenset(runs(hashes, SHARED_RUN_WORDS).tolist()) if len(words) >= SHARED_RUN_WORDS else (
            frozenset()
        )

    def _find_in_response(self, response: str, own_runs: frozenset[int]) -> str:
        words = words_of(response)
        hashes = word_hashes(words)
        if len(words) >= SHARED_RUN_WORDS and self._runs:
            shared = self._runs.keys() & runs(hashes, SHARED_RUN_WORDS).tolist()
            if shared := shared - own_runs:
                prompts = sorted({self._runs[run] for run in shared})
                return f"its response has {SHARED_RUN_WORDS} words in a row of the benchmark prompt {prompts[0]!r}"
        return self._like("its response", words, hashes) or self._containing("its response", words, hashes)

    def _like(self, what: str, words: list[str], hashes: Hashes) -> str:
        if (same := self._whole.get(" ".join(words))) is not None:
            return f"{what} is the benchmark prompt {same!r}"
        own = set(runs(hashes, SHINGLE_WORDS).tolist())
        # a near copy is not much longer or shorter; most responses are longer than any prompt
        nearest = bisect_left(self._in_order_of_size, len(own) * NEAR_PROMPT)
        if nearest == len(self._sizes) or self._in_order_of_size[nearest] * NEAR_PROMPT > len(own):
            return ""
        common = Counter(prompt for shingle in own for prompt in self._by_shingle.get(shingle, ()))
        for user_prompt_id, count in sorted(common.items()):
            similarity = count / (len(own) + self._sizes[user_prompt_id] - count)
            if similarity >= NEAR_PROMPT:
                return f"{what} is a near copy (Jaccard {similarity:.2f}) of the benchmark prompt {user_prompt_id!r}"
        return ""

    def _containing(self, what: str, words: list[str], hashes: Hashes) -> str:
        if len(words) < MIN_CONTAINED_WORDS:
            return ""
        text = f" {' '.join(words)} "
        for start in sorted(self._contained.keys() & runs(hashes, MIN_CONTAINED_WORDS).tolist()):
            for prompt in self._contained[start]:
                if f" {prompt} " in text:
                    return f"{what} contains the benchmark prompt {self._whole[prompt]!r}"
        return ""


def read_benchmark_prompts(path: Path) -> dict[str, str]:
    """The prompts of a benchmark, by id.

    Args:
        path: YAML with a mapping `test` of ids to texts, as in `rubrics/user_prompts.yaml` (or without splits, a
            mapping of ids to texts); JSONL with a field prompt, text or question; or text with one prompt per line.
            Where a file gives no ids, they are "FILE:LINE".

    Raises:
        ValueError: If the file is missing, is none of these, or holds no prompt.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a file of benchmark prompts in YAML, JSONL or text")
    prompts = _from_yaml(path) if path.suffix in (".yaml", ".yml") else dict(_from_lines(path))
    if not prompts:
        raise ValueError(f"{path}: got no prompt, expected at least one")
    return prompts


def _from_yaml(path: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from error
    prompts = content.get("test", content) if isinstance(content, dict) else content
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(
            f"{path}: got {str(prompts)[:40]!r}, expected a mapping of ids to prompts, under `test` or alone"
        )
    return {str(user_prompt_id): text for user_prompt_id, text in prompts.items()}


def _from_lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path.name}:{number}"
        if not line.strip():
            continue
        if path.suffix != ".jsonl":
            yield where, line.strip()
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        texts = [row[name] for name in TEXT_FIELDS if isinstance(row.get(name), str)] if isinstance(row, dict) else []
        if not texts:
            raise ValueError(
                f"{path}:{number}: got {line[:40]!r}, expected an object with a text in one of {TEXT_FIELDS}"
            )
        yield where, texts[0]
