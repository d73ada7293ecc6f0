"""Recognises rows that hold a prompt of a benchmark: a student trained on them would have seen what it is tested on.

A user prompt is contaminated if it is a benchmark prompt, contains one of five words or more whole, or is a near copy
of one (Jaccard of three-word shingles, against every benchmark prompt, so that none is missed). A response is
contaminated likewise, or if it shares a run of eight words with a benchmark prompt that its own user prompt does not
have: a response may echo what it was asked, and train and test prompts are phrased alike.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from data_gen.verify.near_duplicates import SHINGLE_WORDS, jaccard, runs, words_of

MIN_CONTAINED_WORDS = 5  # shorter questions ("What causes earthquakes?") turn up in texts about something else
SHARED_RUN_WORDS = 8
NEAR_PROMPT = 0.8


class Contamination:
    """Looks for benchmark prompts in rows.

    Args:
        prompts: Benchmark prompts by id; rows with the id of one are contaminated whatever the text.
    """

    def __init__(self, prompts: Mapping[str, str]):
        self._words = {name: words_of(text) for name, text in prompts.items()}
        self._shingles = {name: runs(words, SHINGLE_WORDS) for name, words in self._words.items()}
        self._by_shingle: dict[str, list[str]] = defaultdict(list)
        for name, own in self._shingles.items():
            for shingle in own:
                self._by_shingle[shingle].append(name)
        self._in_prompt = lru_cache(maxsize=100_000)(self._in_text)

    def find(self, user_prompt_id: str, user_prompt: str, response: str) -> str:
        """What is contaminated in a row and by which benchmark prompt; "" if nothing is."""
        if user_prompt_id in self._words:
            return f"its user prompt has the id of the benchmark prompt {user_prompt_id!r}"
        if detail := self._in_prompt(user_prompt):
            return f"its user prompt {detail}"
        detail = self._in_text(response, user_prompt)
        return f"its response {detail}" if detail else ""

    def _in_text(self, text: str, asked: str | None = None) -> str:
        words = words_of(text)
        own, whole = runs(words, SHINGLE_WORDS), " ".join(words)
        # whatever holds more of a prompt has one of its shingles
        names = sorted({name for shingle in own & self._by_shingle.keys() for name in self._by_shingle[shingle]})
        long_runs: set[str] = set()
        if names and asked is not None:
            long_runs = runs(words, SHARED_RUN_WORDS) - runs(words_of(asked), SHARED_RUN_WORDS)
        for name in names:
            prompt = self._words[name]
            if whole == " ".join(prompt):
                return f"is the benchmark prompt {name!r}"
            if len(prompt) >= MIN_CONTAINED_WORDS and f" {' '.join(prompt)} " in f" {whole} ":
                return f"contains the benchmark prompt {name!r}"
            if (similarity := jaccard(own, self._shingles[name])) >= NEAR_PROMPT:
                return f"is a near copy (Jaccard {similarity:.2f}) of the benchmark prompt {name!r}"
            if len(prompt) >= SHARED_RUN_WORDS and not long_runs.isdisjoint(runs(prompt, SHARED_RUN_WORDS)):
                return f"has {SHARED_RUN_WORDS} words in a row of the benchmark prompt {name!r}"
        return ""
