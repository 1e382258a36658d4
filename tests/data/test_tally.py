from collections import Counter

import pytest

from rnnkit.data import tally
from rnnkit.data.tally import Tally


def test_few_strings_are_counted_exactly():
    found = Tally()
    for words in (["a", "b"], ["a"], Counter(c=3)):
        found.add(words)
    assert (dict(found.counts), found.total, found.distinct) == ({"a": 2, "b": 1, "c": 3}, 6, 3)


def test_of_many_a_sample_is_counted_exactly_and_its_size_is_bounded(monkeypatch):
    monkeypatch.setattr(tally, "MOST_DISTINCT", 1000)
    found, true = Tally(), Counter(f"word {number % 20_000}" for number in range(30_000))
    for first in range(0, 30_000, 100):
        found.add(f"word {number % 20_000}" for number in range(first, first + 100))
    assert 250 <= len(found.counts) <= 1000
    assert found.total == 30_000
    assert all(count == true[word] and found.samples(word) for word, count in found.counts.items())
    # 600 of 20,000 strings are drawn: both shares are off by 4 % (one standard deviation).
    assert found.distinct == pytest.approx(20_000, rel=0.15)
    twice = sum(count == 2 for count in found.counts.values()) / len(found.counts)
    assert twice == pytest.approx(0.5, abs=0.08)
