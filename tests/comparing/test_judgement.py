"""What differences are worth."""

import math

import numpy as np
import pytest
from scipy import stats

from rnnkit.comparing.judgement import difference, interval, judge

OURS, THEIRS = (1.0, 1.2, 1.1, 1.3), (2.0, 2.6, 2.2)


def test_an_interval_is_students():
    found = interval(OURS)
    low, high = stats.t.interval(0.95, len(OURS) - 1, np.mean(OURS), stats.sem(OURS))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert math.isnan(interval([1.0]).half_width)
    assert str(interval([1.0])) == "1"


def test_a_difference_is_welchs():
    found = difference(THEIRS, OURS)
    expected = stats.ttest_ind(THEIRS, OURS, equal_var=False).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(tuple(expected))


def test_without_any_spread_nothing_is_proven():
    assert math.isnan(difference([1.0, 1.0], [2.0, 2.0]).half_width)
    assert "Not to be told from it with these seeds: gru (+0.01)" in judge(
        {"lstm": [0.25, 0.25], "gru": [0.26, 0.26]}, metric="cer"
    )


@pytest.mark.slow
def test_of_many_equal_layers_chance_rarely_makes_one_worse():
    generator = np.random.default_rng(1)
    found = [judge({f"layer {n}": generator.normal(1, 0.1, 3) for n in range(12)}, metric="nats") for _ in range(40)]
    assert sum("Worse" in words for words in found) <= 4  # 5 % of 40 are 2


def test_many_means_are_told_apart_by_the_studentized_range():
    # balanced and of equal variance, Games and Howell's is Tukey's
    draws = [np.array(values) for values in ([1.0, 1.2, 1.1], [2.0, 2.2, 2.1], [3.0, 3.2, 3.1])]
    found = difference(draws[1], draws[0], means=3)
    freedom, error = 4, math.sqrt(draws[0].var(ddof=1) / 3)
    assert found.half_width == pytest.approx(stats.studentized_range.ppf(0.95, 3, freedom) * error)


def test_a_verdict_tells_chance_from_more():
    words = judge({"gru": THEIRS, "lstm": OURS, "rnn": (1.0, 1.4, 1.2)}, metric="nats")
    assert words.startswith("lstm has the lowest nats, 1.15 ±")
    assert "Worse by more than chance: gru (+1.117 ±" in words
    assert "Not to be told from it with these seeds: rnn (+0.05 ±" in words


def test_one_seed_is_no_proof():
    assert "give more --seeds" in judge({"gru": [1.0], "lstm": [2.0]}, metric="nats")
    words = judge({"gru": [1.0, 1.1, 1.2], "rnn": [3.0, 3.1, 3.2], "lstm": [2.0]}, metric="nats")
    assert "Worse by more than chance: rnn (+2 ±" in words
    assert "With one seed alone, which proves nothing (give more --seeds): lstm (+0.9)." in words
    assert judge({"gru": [1.0]}, metric="nats") == "gru has the lowest nats, 1."
