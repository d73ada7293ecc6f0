"""What generating costs: the forecast before it, the budget during it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from judges.cost import Prices, cost_usd
from model_calls import CallStore

CHARACTERS_PER_TOKEN = 4
MAX_REPLIES_READ = 5000


@dataclass(frozen=True)
class ExpectedTokens:
    """Output tokens that a reply is expected to have, and where the number comes from."""

    tokens: float
    source: str


@dataclass(frozen=True)
class Forecast:
    """What asking one teacher will take.

    Attributes:
        teacher: Inspect name.
        questions: Rows of the plan.
        in_file: Of them, those whose row is there.
        in_store: Of them, those whose reply is in the call store, so that the row costs nothing.
        calls: Calls to make; fewer than the rest of the rows where rubrics share their controls.
        characters: Of the messages of those calls.
        expected: Per reply.
        batch: Whether they go through a provider's batch.
    """

    teacher: str
    questions: int
    in_file: int
    in_store: int
    calls: int
    characters: int
    expected: ExpectedTokens
    batch: bool

    @property
    def usage(self) -> dict[str, int]:
        """Tokens by kind, nothing read from a provider's cache."""
        tokens = round(self.calls * self.expected.tokens)
        return {"input_tokens": self.characters // CHARACTERS_PER_TOKEN, "output_tokens": tokens}

    def usd(self, prices: Prices) -> float | None:
        """US dollars, None if the price is not known."""
        return cost_usd(self.teacher, self.usage, self.batch, prices) if self.calls else 0.0

    def lines(self, prices: Prices) -> list[str]:
        """The forecast in words."""
        usd = self.usd(prices)
        cost = f"no price for {self.teacher} as of {prices.as_of}: write one into a YAML file and pass it with --prices"
        if usd is not None:
            cost = f"{usd:.2f} USD at prices of {prices.as_of}{', through batches' if self.batch else ''}"
        return [
            f"{self.teacher}: {self.questions:,} rows planned, {self.in_file:,} in the file, {self.in_store:,} in the "
            f"call store, {self.calls:,} calls to make",
            f"  tokens in {self.usage['input_tokens']:,} (characters / {CHARACTERS_PER_TOKEN}, without prompt caching)"
            f", out {self.usage['output_tokens']:,} ({self.expected.tokens:.0f} a reply: {self.expected.source})",
            f"  cost {cost}",
        ]


def expected_tokens(store: CallStore, model: str, given: int | None, max_tokens: int) -> ExpectedTokens:
    """Output tokens per reply: as given, else the mean in the call store, else the upper bound.

    Args:
        store: Its first replies are read, those of this model are taken.
        model: Inspect name.
        given: What the user says, if anything.
        max_tokens: Upper bound of a reply.
    """
    if given is not None:
        return ExpectedTokens(given, "--expected-tokens")
    read = itertools.islice(store.replies(), MAX_REPLIES_READ)
    counts = [reply.usage.get("output_tokens", 0) for reply in read if reply.model == model]
    if sum(counts):
        return ExpectedTokens(sum(counts) / len(counts), f"mean of {len(counts):,} replies in the call store")
    return ExpectedTokens(max_tokens, "--max-tokens, the upper bound; say --expected-tokens if you know better")


class Budget:
    """What was spent in this run and what the calls in flight are expected to cost, in US dollars.

    Attributes:
        prices: Prices to count at.
        max_usd: What must not be exceeded; None for no bound.
        spent: By replies that came in now, as far as their price is known.
        is_reached: Whether a call was held back for it.
    """

    def __init__(self, prices: Prices, max_usd: float | None = None):
        self.prices = prices
        self.max_usd = max_usd
        self.spent = 0.0
        self.is_reached = False
        self._in_flight = 0.0

    def reserve(self, usd: float | None) -> bool:
        """Whether a call of this expected cost may be made; if so, it counts as in flight until `release`."""
        if self.max_usd is not None and self.spent + self._in_flight + (usd or 0.0) > self.max_usd:
            self.is_reached = True
            return False
        self._in_flight += usd or 0.0
        return True

    def release(self, usd: float | None) -> None:
        """Ends what `reserve` began."""
        self._in_flight -= usd or 0.0

    def pay(self, model: str, usage: Mapping[str, int], batch: bool = False) -> None:
        """Counts the tokens of a reply."""
        self.spent += cost_usd(model, usage, batch, self.prices) or 0.0
