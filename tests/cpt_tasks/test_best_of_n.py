"""Best of k: the closed form against every subset, values by hand, and how many samples are saved."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpt_tasks.metrics.best_of_k import (
    LEVELS,
    STATISTICS,
    Sampled,
    best_of_k,
    best_of_k_cells,
    curve_sizes,
    level_curves,
    quality,
    selection_shares,
)
from cpt_tasks.metrics.cells import seeded_weights
from cpt_tasks.metrics.samples_saved import samples_saved, samples_to_reach
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
# a coarse grid, so that ties and the edges 40 and 92.5 are common
SCORES = st.lists(st.sampled_from([0.0, 20, 39, 40, 40.5, 66, 92.5, 93, 100]), min_size=1, max_size=7)


def over_all_subsets(values: list[float], qualities: list[float], k: int) -> float:
    """The same by enumeration: in each subset the mean of those that tie for the best."""
    means = []
    for subset in combinations(range(len(values)), k):
        best = max(qualities[i] for i in subset)
        means.append(np.mean([values[i] for i in subset if qualities[i] == best]))
    return float(np.mean(means))


def test_best_of_two_of_three_by_hand() -> None:
    # pairs of 10, 20, 60: maxima 20, 60, 60 -> 140 / 3
    assert best_of_k([10, 20, 60], [10, 20, 60], 2) == pytest.approx(140 / 3)
    # v_(i) C(i-1, 1) / C(3, 2): (20 * 1 + 60 * 2) / 3
    assert selection_shares([10, 20, 60], 2) == pytest.approx([0, 1 / 3, 2 / 3])


def test_ties_share_what_they_win() -> None:
    # of 3 pairs of (A 5, B 5, C 1): AB is a coin, AC is A, BC is B
    assert selection_shares([5, 5, 1], 2) == pytest.approx([0.5, 0.5, 0])


@given(SCORES, st.sampled_from(LEVELS), st.data())
def test_the_closed_form_equals_all_subsets_with_ties(
    scores: list[float], level: ScoreLevel, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(scores)))
    selection = data.draw(st.permutations(scores))
    qualities = [quality(level, score) for score in selection]
    for statistic in STATISTICS.values():
        values = [statistic(level, score) for score in scores]
        assert best_of_k(values, qualities, k) == pytest.approx(over_all_subsets(values, qualities, k))


@given(SCORES, st.sampled_from(LEVELS))
def test_one_is_the_mean_all_is_the_best_and_more_is_never_worse(scores: list[float], level: ScoreLevel) -> None:
    qualities = [quality(level, score) for score in scores]
    hits = [STATISTICS["band_hit"](level, score) for score in scores]
    distances = [STATISTICS["band_error"](level, score) for score in scores]
    n = len(scores)
    assert best_of_k(hits, qualities, 1) == pytest.approx(np.mean(hits))
    assert best_of_k(scores, qualities, 1) == pytest.approx(np.mean(scores))
    assert best_of_k(hits, qualities, n) == pytest.approx(max(hits))
    assert best_of_k(distances, qualities, n) == pytest.approx(min(distances))
    for k in range(1, n):
        assert best_of_k(hits, qualities, k + 1) >= best_of_k(hits, qualities, k) - 1e-12
        assert best_of_k(distances, qualities, k + 1) <= best_of_k(distances, qualities, k) + 1e-9
        if level is HIGH:
            assert best_of_k(scores, qualities, k + 1) >= best_of_k(scores, qualities, k) - 1e-9


@given(SCORES, st.sampled_from(LEVELS), st.data())
def test_band_hit_of_an_oracle_is_the_chance_that_one_of_k_hits(
    scores: list[float], level: ScoreLevel, data: st.DataObject
) -> None:
    # pass@k, arXiv 2107.03374: 1 - C(n - c, k) / C(n, k)
    k, n = data.draw(st.integers(1, len(scores))), len(scores)
    hits = [STATISTICS["band_hit"](level, score) for score in scores]
    expected = 1 - math.comb(n - int(sum(hits)), k) / math.comb(n, k)
    assert best_of_k(hits, [quality(level, score) for score in scores], k) == pytest.approx(expected)


def test_exactly_40_loses_to_a_hit_at_moderate_and_beats_a_miss() -> None:
    assert quality(MODERATE, 39) < quality(MODERATE, 40) < quality(MODERATE, 40.1) == quality(MODERATE, 92.5)
    assert quality(LOW, 40) == quality(LOW, 0) > quality(LOW, 41)
    assert quality(HIGH, 93) < quality(HIGH, 100)


def test_large_n_does_not_overflow() -> None:
    shares = selection_shares(list(range(2000)), 1000)
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_samples_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: got {k}, expected 1 to the number of samples 3"):
        selection_shares([1, 2, 3], k)


def test_curves_go_by_powers_of_two_to_n() -> None:
    assert curve_sizes(16) == [1, 2, 4, 8, 16]
    assert curve_sizes(6) == [1, 2, 4, 6]


def samples_of(scores: list[float], level: ScoreLevel = HIGH, prompt: str = "a", rubric: str = "r") -> list[Sampled]:
    return [Sampled(rubric, level, prompt, score, score) for score in scores]


def test_a_cell_with_too_few_scored_samples_counts_up_to_what_it_has() -> None:
    samples = samples_of([50, 100]) + samples_of([0, 0, 0, 100], prompt="b")
    cells = best_of_k_cells(samples, 4, ["a", "b"], by_selection=False)
    assert cells.counts() == {"low": [0] * 4, "moderate": [0] * 4, "extremely_high": [2, 2, 1, 1], "all": [2, 2, 1, 1]}
    [curve] = level_curves(cells.values["band_hit"], np.ones((1, 2)))[:, HIGH.rank]
    # k=1: (1/2 + 1/4) / 2; k=2: (1 + 2/4) / 2; k=3: b alone, 3/4
    assert curve == pytest.approx([0.375, 0.75, 0.75, 1])


def test_pooled_weighs_every_rubric_and_level_the_same() -> None:
    # rubric r: high 1 of 1 prompts hit; low 0 of 2. rubric q: high 0 of 1. -> (1 + 0 + 0) / 3
    samples = samples_of([100]) + samples_of([90], LOW) + samples_of([90], LOW, "b") + samples_of([0], rubric="q")
    cells = best_of_k_cells(samples, 1, ["a", "b"], by_selection=False)
    found = level_curves(cells.values["band_hit"], np.ones((1, 2)))[0, :, 0]
    assert found == pytest.approx([0, math.nan, 0.5, 1 / 3], nan_ok=True)


def test_resamples_weigh_prompts_as_often_as_they_are_drawn() -> None:
    samples = samples_of([100]) + samples_of([0], prompt="b")
    cells = best_of_k_cells(samples, 1, ["a", "b"], by_selection=False)
    found = level_curves(cells.values["score"], np.array([[2.0, 0], [1, 1], [0, 2]]))
    assert found[:, HIGH.rank, 0] == pytest.approx([100, 50, 0])


def test_another_judge_selects_and_the_report_judge_reports() -> None:
    # the selector likes the worst: of 2 it takes the 0
    samples = [Sampled("r", HIGH, "a", 100, 10), Sampled("r", HIGH, "a", 0, 90)]
    by_selector = best_of_k_cells(samples, 2, ["a"], by_selection=True).values["score"][0, HIGH.rank, 0]
    by_report = best_of_k_cells(samples, 2, ["a"], by_selection=False).values["score"][0, HIGH.rank, 0]
    assert by_selector == pytest.approx([50, 0])
    assert by_report == pytest.approx([50, 100])


@pytest.mark.parametrize(
    ("curve", "goal", "expected"),
    [
        ([0.2, 0.5, 0.6, 0.8], 0.5, 2),  # met exactly
        ([0.2, 0.4, 0.5, 0.8], 0.3, math.sqrt(2)),  # half way from k=1 to k=2 in log k
        ([0.2, 0.4, 0.5, 0.8], 0.1, -math.inf),  # the first sample is better already
        ([0.2, 0.4, 0.5, 0.8], 0.2, 1),
        ([0.2, 0.4, 0.5, 0.8], 0.9, math.inf),  # not within n
        ([0.2, 0.4, 0.5, 0.8], 0.0, math.nan),  # nothing to reach
        ([0.2, 0.4, 0.5, 0.8], math.nan, math.nan),
        ([0.2, math.nan, math.nan, 0.8], 0.5, 2),  # half way from 1 to 4
        ([math.nan] * 4, 0.5, math.inf),
        ([0.6, 0.2, 0.5, 0.8], 0.5, -math.inf),  # the first crossing counts
    ],
)
def test_samples_to_reach_by_hand(curve: list[float], goal: float, expected: float) -> None:
    assert samples_to_reach(np.array(curve), goal) == pytest.approx(expected, nan_ok=True)


def draws(curve: list[float], *others: list[float]) -> np.ndarray:
    return np.array([curve, *others])


def test_samples_saved_by_hand() -> None:
    # the base needs 4 for 0.5, the adapter 2
    saved = samples_saved(draws([0.1, 0.2, 0.4, 0.5]), draws([0.4, 0.5, 0.6, 0.7]), 4, 0)
    assert (saved.goal, saved.samples.value, saved.ratio.value) == (0.5, pytest.approx(2), pytest.approx(2))
    assert math.isnan(saved.ratio.ci_low)
    assert saved.samples.censored == {}
    # the base's 3 are worth 0.4: the adapter's first sample
    assert samples_saved(draws([0.1, 0.2, 0.4, 0.5]), draws([0.4, 0.5, 0.6, 0.7]), 3, 0).ratio.value == pytest.approx(3)


def test_equal_models_save_nothing_even_where_the_curve_is_flat() -> None:
    flat = draws([0.2, 0.5, 0.5, 0.5], [0.2, 0.3, 0.4, 0.5])
    saved = samples_saved(flat, flat, 4, 0)
    assert (saved.ratio.value, saved.ratio.ci_low, saved.ratio.ci_high) == pytest.approx((1, 1, 1))


def test_bounds_are_kept_as_bounds() -> None:
    base = draws(*[[0.1, 0.2, 0.4, 0.5]] * 3)
    # the data: better with the first sample. Resamples: the same, and not within n
    saved = samples_saved(base, draws([0.6, 0.7, 0.8, 0.9], [0.6, 0.7, 0.8, 0.9], [0.1, 0.1, 0.2, 0.3]), 4, 0)
    assert (saved.samples.value, saved.samples.ci_low, saved.samples.ci_high) == (1, 1, 4)
    assert saved.samples.censored == {"value": "at_most", "ci_low": "at_most", "ci_high": "at_least"}
    assert (saved.ratio.value, saved.ratio.ci_low, saved.ratio.ci_high) == (4, 1, 4)
    assert saved.ratio.censored == {"value": "at_least", "ci_low": "at_most", "ci_high": "at_least"}


def test_a_base_that_never_hits_leaves_nothing_to_compare() -> None:
    saved = samples_saved(draws([0, 0], [0, 0.5], [0, 0]), draws([1, 1], [1, 1], [1, 1]), 2, 0)
    assert math.isnan(saved.samples.value)
    assert math.isnan(saved.ratio.value)
    assert saved.undefined == 0.5


def test_the_interval_of_the_ratio_covers_the_truth() -> None:
    # responses hit independently, base with 0.1 and adapter with 0.4: 1 - 0.9^8 = 0.57 = 1 - 0.6^k at k = 1.65, but
    # the exact curves of both are linear between the integers in log k: 1 - 0.6^1 = 0.4, 1 - 0.6^2 = 0.64
    n, prompts = 8, [f"p{number}" for number in range(24)]
    goal = 1 - 0.9**n
    truth = n / 2 ** ((goal - 0.4) / (0.64 - 0.4))
    weights = seeded_weights(len(prompts), 200, seed=0)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        curves = []
        for chance in (0.1, 0.4):
            samples = [
                Sampled("r", HIGH, prompt, 100.0 * hit, 100.0 * hit)
                for prompt in prompts
                for hit in rng.random(n) < chance
            ]
            cells = best_of_k_cells(samples, n, prompts, by_selection=False)
            curves.append(level_curves(cells.values["band_hit"], weights)[:, -1])
        ratio = samples_saved(*curves, n, len(prompts)).ratio
        covered += ratio.ci_low <= truth <= ratio.ci_high
    assert covered >= 34
