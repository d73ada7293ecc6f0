"""Recognises rows that hold a prompt of a benchmark: a student trained on them would have seen what it is tested on.

A user prompt is contaminated if it is a benchmark prompt, contains one of five words or more whole, or is a near copy
of one (Jaccard of three-word shingles, against every benchmark prompt, so that none is missed). A response is
contaminated likewise, or if it shares a run of eight words with a benchmark prompt that its own user prompt does not
have: a response may echo what it was asked, and train and test prompts are phrased alike.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from data_gen.verify.shingles import SHINGLE_WORDS, jaccard, runs, words_of

MIN_CONTAINED_WORDS = 5  # shorter questions ("What causes earthquakes?") turn up in texts about something else
SHARED_RUN_WORDS = 8
NEAR_PROMPT = 0.8


class Contamination:
    """Looks for benchmark prompts in rows.

    Args:
        prompts: Benchmark prompts by id; ids serve for messages.
        reserved: Ids of user prompts that stand for benchmark prompts: their rows are contaminated whatever the text.
    """

    def __init__(self, prompts: Mapping[str, str], reserved: frozenset[str] = frozenset()):
        self._reserved = reserved
        self._words = {user_prompt_id: words_of(text) for user_prompt_id, text in prompts.items()}
        self._ids = {" ".join(words): user_prompt_id for user_prompt_id, words in reversed(self._words.items())}
        self._shingles = {name: runs(words, SHINGLE_WORDS) for name, words in self._words.items()}
        self._by_shingle: dict[str, list[str]] = defaultdict(list)
        for user_prompt_id, own in self._shingles.items():
            for shingle in own:
                self._by_shingle[shingle].append(user_prompt_id)
        self._in_prompt = lru_cache(maxsize=100_000)(self._in_prompt_uncached)

    def find(self, user_prompt_id: str, user_prompt: str, response: str) -> str:
        """What is contaminated in a row and by which benchmark prompt; "" if nothing is."""
        if user_prompt_id in self._reserved:
            return f"its user prompt has the id of the benchmark prompt {user_prompt_id!r}"
        return self._in_prompt(user_prompt) or self._in_response(response, user_prompt)

    def _in_prompt_uncached(self, user_prompt: str) -> str:
        words = words_of(user_prompt)
        return self._in_text("its user prompt", words, runs(words, SHINGLE_WORDS))

    def _in_response(self, response: str, user_prompt: str) -> str:
        words = words_of(response)
        own = runs(words, SHINGLE_WORDS)
        long_runs: set[str] | None = None
        for user_prompt_id in self._sharing(own):
            if len(self._words[user_prompt_id]) < SHARED_RUN_WORDS:
                continue
            if long_runs is None:
                long_runs = runs(words, SHARED_RUN_WORDS) - runs(words_of(user_prompt), SHARED_RUN_WORDS)
            if not long_runs.isdisjoint(runs(self._words[user_prompt_id], SHARED_RUN_WORDS)):
                return f"its response has {SHARED_RUN_WORDS} words in a row of the benchmark prompt {user_prompt_id!r}"
        return self._in_text("its response", words, own)

    def _in_text(self, what: str, words: list[str], own: set[str]) -> str:
        text = " ".join(words)
        if text in self._ids:
            return f"{what} is the benchmark prompt {self._ids[text]!r}"
        for user_prompt_id in self._sharing(own):
            prompt = self._words[user_prompt_id]
            similarity = jaccard(own, self._shingles[user_prompt_id])
            if similarity >= NEAR_PROMPT:
                return f"{what} is a near copy (Jaccard {similarity:.2f}) of the benchmark prompt {user_prompt_id!r}"
            if len(prompt) >= MIN_CONTAINED_WORDS and f" {' '.join(prompt)} " in f" {text} ":
                return f"{what} contains the benchmark prompt {user_prompt_id!r}"
        return ""

    def _sharing(self, own: set[str]) -> list[str]:
        """Ids of the benchmark prompts with one of these shingles, sorted: whatever holds more of a prompt has one."""
        return sorted({name for shingle in own & self._by_shingle.keys() for name in self._by_shingle[shingle]})
