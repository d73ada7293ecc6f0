"""What calls of a model cost, done or still to come, from a dated file of prices."""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from rubrics.load import read_yaml

PRICES_FILE = Path(__file__).parent / "prices.yaml"
# guesses, for forecasts
CHARACTERS_PER_TOKEN = 4
CRITERION_TOKENS = 60  # output for a criterion of a verdict, or its holistic score
THINKING_TOKENS = 300  # per verdict, billed as output, at low effort


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: NonNegativeFloat
    output: NonNegativeFloat
    cache_write: NonNegativeFloat
    cache_read: NonNegativeFloat
    source: str = ""


class Prices(BaseModel):
    """Prices, by model name without provider, of the day `as_of`; `batch` is the factor on a provider's batches."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    as_of: date
    batch: NonNegativeFloat
    models: Mapping[str, Price]


class Forecast(NamedTuple):
    """Calls that are still to be made: how many, their tokens by kind and their cost as in `cost_usd`."""

    calls: int
    usage: Mapping[str, int]
    cost_usd: float | None


@cache
def load_prices(path: Path = PRICES_FILE) -> Prices:
    """The prices in a YAML file.

    Raises:
        ValueError: If it is not a file of prices; the message names file and field.
    """
    try:
        return Prices.model_validate(read_yaml(path))
    except ValueError as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{path}: {problem}; expected YAML with the fields of {PRICES_FILE.name}") from error


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Sum of costs, or None if one of them is not known."""
    known = list(costs)
    return None if None in known else math.fsum(cost for cost in known if cost is not None)


def cost_usd(model: str, usage: Mapping[str, int], batch: bool = False, prices: Prices | None = None) -> float | None:
    """Cost in US dollars of a model's tokens, or None if its price is not known.

    Of `model`, an inspect name, only the last part counts. `usage` has tokens by kind: input_tokens (uncached),
    output_tokens (thinking included), input_tokens_cache_write, input_tokens_cache_read. `batch` is whether they went
    through a provider's batch; without `prices` those of the package hold.
    """
    prices = prices or load_prices()
    price = prices.models.get(model.rsplit("/", 1)[-1])
    if price is None:
        return None
    per_million = {
        "input_tokens": price.input,
        "output_tokens": price.output,
        "input_tokens_cache_write": price.cache_write,
        "input_tokens_cache_read": price.cache_read,
    }
    return sum(usage.get(kind, 0) * usd for kind, usd in per_million.items()) / 1e6 * (prices.batch if batch else 1)


def verdict_tokens(n_criteria: int) -> int:
    """Output tokens that a verdict on so many criteria is guessed to take, thinking included."""
    return CRITERION_TOKENS * (n_criteria + 1) + THINKING_TOKENS


def forecast(calls: int, characters: int, output_tokens: int, model: str) -> Forecast:
    """What calls will take, of so many characters in all; thinking is output, and nothing is read from a cache."""
    usage = {"input_tokens": characters // CHARACTERS_PER_TOKEN, "output_tokens": output_tokens}
    return Forecast(calls, usage, cost_usd(model, usage))
