"""The bootstrap: vectorised resamples are exact, intervals cover, and a whole report stays fast."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cpt_tasks.metrics import STATISTICS, Judged, Statistic, clustered_bootstrap, estimate
from cpt_tasks.metrics import adherence as metrics
from cpt_tasks.metrics.rows import table_of
from rubrics import ScoreLevel

ALL = STATISTICS | {"mean_score": metrics.mean_score}

# few distinct scores and lengths for ties, few prompts for unequal clusters and missing levels
judged = st.builds(
    Judged,
    rubric=st.sampled_from(["r", "s"]),
    level=st.sampled_from(list(ScoreLevel)),
    user_prompt=st.sampled_from("abcde"),
    score=st.sampled_from([0.0, 20.0, 40.0, 41.0, 70.0, 92.5, 93.0, 100.0]),
    words=st.sampled_from([20, 30, 50]),
    paraphrase=st.sampled_from(["heldout-0", "heldout-1", "heldout-2"]),
)


def copied(rows: list[Judged], multiplicity: dict[str, int]) -> list[Judged]:
    """Every row as often as its user prompt is drawn, each copy of a prompt under a name of its own."""
    return [
        replace(row, user_prompt=f"{row.user_prompt}/{copy}")
        for row in rows
        for copy in range(multiplicity[row.user_prompt])
    ]


def value_on_copies(statistic: Statistic, rows: list[Judged], multiplicity: dict[str, int]) -> float:
    copies = table_of(copied(rows, multiplicity))
    # a copy stays in the half of the prompt that it is a copy of
    halves = {prompt: place % 2 for place, prompt in enumerate(sorted({row.user_prompt for row in rows}))}
    names = sorted(f"{prompt}/{copy}" for prompt in halves for copy in range(multiplicity[prompt]))
    copies = replace(copies, half=np.array([halves[name.split("/")[0]] for name in names], dtype=np.int64))
    return float(statistic.resampled(copies, np.ones((1, copies.n_clusters)))[0])


@settings(max_examples=150)
@given(st.lists(judged, max_size=40), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_vectorised_resample_equals_the_statistic_of_the_copied_rows(rows: list[Judged], drawn: list[int]) -> None:
    prompts = sorted({row.user_prompt for row in rows})
    multiplicity = dict(zip(prompts, drawn, strict=False))
    weights = np.array([[multiplicity[prompt] for prompt in prompts], [1] * len(prompts)], dtype=np.float64)
    for name, statistic in ALL.items():
        vectorised, plain = statistic.resampled(table_of(rows), weights)
        expected = value_on_copies(statistic, rows, multiplicity)
        assert vectorised == pytest.approx(expected, abs=1e-12, nan_ok=True), name
        assert plain == pytest.approx(statistic(rows), abs=1e-12, nan_ok=True), name


def test_the_comparison_with_copies_is_not_all_undefined() -> None:
    # the test above compares nan with nan on degenerate data; on a whole grid every statistic has a value
    rows = benchmark(np.random.default_rng(0), n_prompts=8)
    for statistic in ALL.values():
        assert not math.isnan(value_on_copies(statistic, rows, {f"p{prompt:02}": prompt % 3 for prompt in range(8)}))


def benchmark(
    rng: np.random.Generator, n_prompts: int = 24, rubrics: tuple[str, ...] = ("r", "s"), shared: float = 12.0
) -> list[Judged]:
    """A noisy student: a third of the spread of scores around the midpoint asked for belongs to the user prompt."""
    effect = rng.normal(0, shared, n_prompts)
    noise = rng.normal(0, 17, (len(rubrics), len(ScoreLevel), n_prompts))
    words = rng.integers(40, 120, noise.shape)
    return [
        Judged(
            rubric,
            level,
            f"p{prompt:02}",
            float(np.clip(0.7 * level.midpoint + 15 + effect[prompt] + noise[place, level.rank, prompt], 0, 100)),
            int(words[place, level.rank, prompt]),
            f"heldout-{prompt % 3}",
        )
        for place, rubric in enumerate(rubrics)
        for level in ScoreLevel
        for prompt in range(n_prompts)
    ]


def test_a_prompt_drawn_twice_counts_as_two_prompts() -> None:
    # a is strictly monotone, b is not: the resample (a, a, b) has 2 of 3, and 1 of 2 if the copies of a were merged
    scores = {"a": (10, 50, 95), "b": (30, 30, 60)}
    rows = [Judged("r", level, prompt, scores[prompt][level.rank], 50) for prompt in scores for level in ScoreLevel]
    resampled = metrics.strict_monotone_rate.resampled(table_of(rows), np.array([[2.0, 1.0]]))
    assert resampled == pytest.approx([2 / 3])


def test_bootstrap_is_seeded_ignores_row_order_and_brackets_the_value() -> None:
    data = benchmark(np.random.default_rng(0))
    wanted = [metrics.macro_accuracy, metrics.mean_score]
    first = clustered_bootstrap(data, wanted, np.random.default_rng(1), 200)
    assert first == clustered_bootstrap(data, wanted, np.random.default_rng(1), 200)
    again = clustered_bootstrap(data[::-1], wanted, np.random.default_rng(1), 200)
    for one, other in zip(first, again, strict=True):
        assert one.ci_low < one.value < one.ci_high
        assert (one.ci_low, one.ci_high) == pytest.approx((other.ci_low, other.ci_high))


def test_the_interval_of_a_mean_is_that_of_students_t_on_the_prompts() -> None:
    # scores of one prompt move together, so there are 20 independent means and not 60 scores
    effects = 50 + 10 * stats.norm.ppf((np.arange(20) + 0.5) / 20)  # symmetric: no skewness to correct
    data = [Judged("r", level, f"p{p}", effects[p], 50) for p in range(20) for level in ScoreLevel]
    [found] = clustered_bootstrap(data, [metrics.mean_score], np.random.default_rng(2), 20_000)
    expected = stats.t.interval(0.95, 19, effects.mean(), stats.sem(effects))
    assert (found.ci_low, found.ci_high) == pytest.approx(expected, abs=0.5)
    assert found.ci_high - found.ci_low == pytest.approx(expected[1] - expected[0], rel=0.05)


def test_corrected_quantiles_by_hand() -> None:
    draws = np.linspace(0, 1, 100_001)
    plain = estimate(0.5, draws)
    assert (plain.ci_low, plain.ci_high) == pytest.approx((0.025, 0.975))
    # 24 clusters: t(.975, 23) = 2.0687, times sqrt(24/23) = 2.1132, and P(Z < -2.1132) = .01729; no bias, no skewness
    symmetric = estimate(0.5, draws, [-1, 1] * 12)
    assert (symmetric.ci_low, symmetric.ci_high) == pytest.approx((0.01729, 0.98271), abs=1e-5)
    # the draws lie .1 below the value on average: the value is thought to lie as far below the truth, so .2 are added,
    # but no end leaves the range of the draws
    biased = estimate(0.6, draws, [-1, 1] * 12)
    assert (biased.ci_low, biased.ci_high) == pytest.approx((0.01729 + 0.2, 1), abs=1e-5)


def test_skewness_is_corrected_as_in_scipy() -> None:
    # 400 clusters of one score each, where Student's t is all but the normal distribution: scipy's BCa
    scores = np.random.default_rng(0).lognormal(1, 1, 400).clip(0, 100)
    data = [Judged("r", ScoreLevel.LOW, f"p{number:04}", score, 50) for number, score in enumerate(scores)]
    [found] = clustered_bootstrap(data, [metrics.mean_score], np.random.default_rng(1), 5000)
    theirs = stats.bootstrap((scores,), np.mean, method="BCa", n_resamples=5000, rng=2).confidence_interval
    percentile = stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=5000, rng=2).confidence_interval
    assert (found.ci_low, found.ci_high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert theirs.high - percentile.high > 0.05


def test_bootstrap_of_one_prompt_has_no_interval() -> None:
    data = [Judged("r", level, "a", level.midpoint, 50) for level in ScoreLevel]
    [found] = clustered_bootstrap(data, [metrics.macro_accuracy], np.random.default_rng(0))
    assert found.value == 1
    assert math.isnan(found.ci_low)
    assert math.isnan(found.ci_high)


def test_resamples_on_which_a_statistic_is_undefined_are_left_out() -> None:
    # only prompt a has two levels: without it order accuracy is undefined, with it it is 1
    data = [Judged("r", level, "a", level.midpoint, 50) for level in ScoreLevel]
    data += [Judged("r", ScoreLevel.LOW, prompt, 10, 50) for prompt in "bc"]
    [found] = clustered_bootstrap(data, [metrics.order_accuracy], np.random.default_rng(0), 50)
    assert (found.value, found.ci_low, found.ci_high) == (1, 1, 1)


def test_two_thousand_responses_take_about_a_second() -> None:
    # a report of 50 models stays under a minute; resampling the rows themselves took about 50 s for this one model
    data = benchmark(np.random.default_rng(0), n_prompts=83, rubrics=tuple("abcdefgh"))
    started = time.process_time()
    clustered_bootstrap(data, ALL.values(), np.random.default_rng(0))
    assert time.process_time() - started < 4


def families(rng: np.random.Generator, n_families: int, n_prompts: int) -> list[Judged]:
    """Families of two rubrics with user prompts of their own, as in the library."""
    return [
        replace(row, rubric=f"{family}{row.rubric}", user_prompt=f"{family}{row.user_prompt}")
        for family in range(n_families)
        for row in benchmark(rng, n_prompts)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("n_families", "n_prompts"), [(1, 24), (5, 8)])
def test_intervals_cover_the_truth_in_about_95_percent_of_benchmarks(n_families: int, n_prompts: int) -> None:
    # (5, 8) is the size of the preset core: there bias matters most, since families shrink the spread but not the bias
    rng = np.random.default_rng(5)
    wanted = [metrics.macro_accuracy, metrics.kendall_tau_b, metrics.order_accuracy, metrics.gain]
    populations = [families(np.random.default_rng(seed), n_families, 1000) for seed in range(10, 14)]
    truth = np.mean([[statistic(population) for statistic in wanted] for population in populations], axis=0)
    hits = np.zeros(len(wanted))
    for _ in range(1000):
        found = clustered_bootstrap(families(rng, n_families, n_prompts), wanted, rng, 600)
        hits += [one.ci_low <= true <= one.ci_high for one, true in zip(found, truth, strict=True)]
    shares = {statistic.__name__: share for statistic, share in zip(wanted, hits / 1000, strict=True)}
    assert all(0.92 <= share <= 0.97 for share in shares.values()), shares


def test_an_interval_of_shares_stays_one_and_none_is_carried_off_by_a_few_draws() -> None:
    left_out = np.linspace(0.9, 1.1, 8)
    shares = np.r_[
        np.full(500, 1.0), np.linspace(0.7, 1.0, 500)
    ]  # biased downwards by 0.075: shifted up, but not past 1
    assert estimate(1.0, shares, left_out).ci_high == 1
    ratios = np.r_[np.linspace(0.5, 2.0, 997), np.full(3, -1e6)]  # three draws divide by nearly 0
    found = estimate(1.2, ratios, left_out)
    assert 0.4 < found.ci_low < 1.2 < found.ci_high <= 2
