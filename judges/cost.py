"""What calls of a model cost, done or still to come, from a dated file of prices."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError

PRICES_FILE = Path(__file__).parent / "prices.yaml"


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: NonNegativeFloat
    output: NonNegativeFloat
    cache_write: NonNegativeFloat
    cache_read: NonNegativeFloat
    source: str = ""


class Prices(BaseModel):
    """Prices of a day.

    Attributes:
        as_of: Day they were looked up.
        batch: Factor on everything that goes through a provider's batch.
        models: By model name without provider.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    as_of: date
    batch: NonNegativeFloat
    models: Mapping[str, Price]


@dataclass(frozen=True)
class Forecast:
    """Calls that are still to be made.

    Attributes:
        calls: How many.
        usage: Their tokens by kind, as in `cost_usd`.
        cost_usd: US dollars, or None if the price of the model is not known.
    """

    calls: int
    usage: Mapping[str, int]
    cost_usd: float | None

    def __add__(self, other: "Forecast") -> "Forecast":
        """Both."""
        kinds = dict.fromkeys([*self.usage, *other.usage])
        usage = {kind: self.usage.get(kind, 0) + other.usage.get(kind, 0) for kind in kinds}
        return Forecast(self.calls + other.calls, usage, total_usd([self.cost_usd, other.cost_usd]))


@cache
def load_prices(path: Path = PRICES_FILE) -> Prices:
    """The prices in a YAML file.

    Raises:
        ValueError: If it is not a file of prices; the message names file and field.
    """
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{path}: {problems}; expected the fields of {PRICES_FILE.name}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Sum of costs, or None if one of them is not known."""
    known = list(costs)
    return None if None in known else math.fsum(cost for cost in known if cost is not None)


def cost_usd(model: str, usage: Mapping[str, int], batch: bool = False, prices: Prices | None = None) -> float | None:
    """Cost in US dollars of a model's tokens, or None if its price is not known.

    Args:
        model: Inspect name; only its last part counts.
        usage: Tokens by kind: input_tokens (uncached), output_tokens (thinking included), input_tokens_cache_write,
            input_tokens_cache_read.
        batch: Whether they went through a provider's batch.
        prices: None for those of the package.
    """
    prices = prices or load_prices()
    price = prices.models.get(model.rsplit("/", 1)[-1])
    if price is None:
        return None
    per_kind = {
        "input_tokens": price.input,
        "output_tokens": price.output,
        "input_tokens_cache_write": price.cache_write,
        "input_tokens_cache_read": price.cache_read,
    }
    dollars = sum(usage.get(kind, 0) * per_million for kind, per_million in per_kind.items()) / 1e6
    return dollars * (prices.batch if batch else 1)


def forecast(
    calls: int,
    input_tokens: float,
    output_tokens: float,
    model: str,
    batch: bool = False,
    cached_share: float = 0.0,
    prices: Prices | None = None,
) -> Forecast:
    """What calls of one kind will take.

    Args:
        calls: How many.
        input_tokens: Of a call, on average.
        output_tokens: Of a call, on average, thinking included.
        model: As in `cost_usd`, like `batch` and `prices`.
        batch: Whether they go through a provider's batch.
        cached_share: Part of the input, 0-1, that calls share as a prefix in the provider's cache; the first writes it.
        prices: None for those of the package.
    """
    shared, writes = cached_share * input_tokens, min(1, calls)
    tokens = {
        "input_tokens": calls * (input_tokens - shared),
        "input_tokens_cache_write": writes * shared,
        "input_tokens_cache_read": (calls - writes) * shared,
        "output_tokens": calls * output_tokens,
    }
    usage = {kind: round(count) for kind, count in tokens.items()}
    return Forecast(calls, usage, cost_usd(model, usage, batch, prices))
