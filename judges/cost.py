"""What judging costs, from a dated file of prices."""

import math
from collections.abc import Iterable, Mapping
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


@cache
def load_prices(path: Path = PRICES_FILE) -> Prices:
    """The prices in a YAML file.

    Raises:
        ValueError: If it is not a file of prices; the message names file and field.
    """
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{path}: {found}; expected the fields of {PRICES_FILE.name}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Sum of costs, or None if one of them is not known."""
    found = list(costs)
    return None if None in found else math.fsum(cost for cost in found if cost is not None)


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
