"""How the fake Anthropic server behaves, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Config:
    """How the server behaves. Rates are shares of requests, 0-1; of refusals and wrong schemas, shares of prompts."""

    seed: int = 7
    latency_seconds: float = 0.0  # median
    latency_sigma: float = 0.0  # of the logarithm; 0: the same for every request
    rate_429: float = 0.0
    rate_529: float = 0.0
    rate_500: float = 0.0
    rate_reset: float = 0.0
    rate_truncated: float = 0.0
    rate_hang: float = 0.0
    rate_refusal: float = 0.0
    rate_wrong_schema: float = 0.0  # the first reply of a prompt only
    retry_after: str = "0.05"  # seconds; "": no such header
    max_in_flight: int = 0  # 429 above; 0: no limit
    min_cached_tokens: int = 1024
    batch_seconds: float = 0.0
    batch_create_seconds: float = 0.0  # between making a batch and saying so
    lost_batch_answers: int = 0  # the first so many batches are made, but the connection ends in place of an answer
    rate_batch_errored: float = 0.0
    rate_batch_expired: float = 0.0
    rate_batch_missing: float = 0.0


@dataclass
class Stats:
    """What the server saw and did."""

    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)  # by prompt
    served: Counter[str] = field(default_factory=Counter)  # whole replies, that is paid ones, by prompt
    tokens: Counter[str] = field(default_factory=Counter)
    cache_writes: int = 0  # requests that wrote
    cache_reads: int = 0
    batches_created: int = 0
    batch_entries: Counter[str] = field(default_factory=Counter)  # submissions by custom id

    @property
    def paid_twice(self) -> int:
        """Replies beyond the first of each prompt."""
        return sum(count - 1 for count in self.served.values())
