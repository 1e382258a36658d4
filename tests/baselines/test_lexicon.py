"""Tests of translation word by word: beside expectation maximisation written out, and on the textbook's example."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from rnnkit.baselines.lexicon import LEAST, ROUNDS, Lexicon
from rnnkit.errors import CheckpointError

NOTHING, DAS, HAUS, BUCH, EIN = range(5)
END, THE, HOUSE, BOOK, A = range(5)
SOURCES = [np.array(one) for one in ([NOTHING, DAS, HAUS], [NOTHING, DAS, BUCH], [NOTHING, EIN, BUCH])]
TARGETS = [np.array(one) for one in ([END, THE, HOUSE], [END, THE, BOOK], [END, A, BOOK])]


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.fit(SOURCES, TARGETS, target_size=5)


def written_out() -> dict[tuple[int, int], float]:
    """IBM's first model as Brown et al. (1993) have it: p(target | source), by two plain loops."""
    shares: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(ROUNDS):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        for source, target in zip(SOURCES, TARGETS, strict=True):
            for word in target.tolist():
                total = sum(shares[other, word] for other in source.tolist())
                for other in source.tolist():
                    counts[other, word] += shares[other, word] / total
        totals: dict[int, float] = defaultdict(float)
        for (other, _), count in counts.items():
            totals[other] += count
        shares = defaultdict(float, {pair: count / totals[pair[0]] for pair, count in counts.items()})
    return shares


def test_shares_are_those_of_expectation_maximisation_written_out(lexicon: Lexicon):
    expected = written_out()
    found = {divmod(key, 5): share for key, share in zip(lexicon.keys.tolist(), lexicon.shares.tolist(), strict=True)}
    assert found.keys() == expected.keys()
    for pair, share in expected.items():
        assert found[pair] == pytest.approx(share, rel=1e-12), pair


def test_words_are_translated_by_what_they_mean(lexicon: Lexicon):
    assert lexicon.translate(np.array([NOTHING, EIN, HAUS])).tolist() == [A, HOUSE]
    assert lexicon.translate(np.array([NOTHING, 7, DAS])).tolist() == [THE]  # of a word never seen, nothing


def test_nats_are_those_of_the_mean_over_the_source(lexicon: Lexicon):
    shares = written_out()
    source, target = [NOTHING, DAS, BUCH], [END, A, BOOK]
    means = [sum(shares[other, word] for other in source) / len(source) for word in target]
    assert lexicon.nats(np.array(source), np.array(target)) == pytest.approx(-np.log(means).sum(), rel=1e-12)
    assert lexicon.nats(np.array([7]), np.array([THE])) == pytest.approx(-np.log(LEAST))


def test_it_is_the_same_when_read_back_and_says_where_it_is_damaged(lexicon: Lexicon, tmp_path: Path):
    lexicon.save(tmp_path)
    again = Lexicon.load(tmp_path)
    assert (again.keys == lexicon.keys).all()
    assert (again.shares == lexicon.shares).all()
    whole = (tmp_path / "lexicon.npz").read_bytes()
    for damaged in (b"", whole[:100], whole[:-30]):
        (tmp_path / "lexicon.npz").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"lexicon.npz: the baseline cannot be read .*; train again"):
            Lexicon.load(tmp_path)
