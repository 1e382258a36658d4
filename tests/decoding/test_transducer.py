"""The transducer's decoder: exact against enumeration, greedy with a beam of 1, states go on elsewhere."""

import itertools
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.decoding.fusion import Phrases
from rnnkit.decoding.hypotheses import BLANK, decode
from rnnkit.decoding.transducer import Speaker, TransducerBeam
from rnnkit.errors import ConfigError

TOKENS, STEPS, MOST = 3, 3, 2
EXHAUSTIVE = 5000


class TableSpeaker(Speaker):
    """Scores that depend on what is heard and on all that was said."""

    def begin(self) -> tuple[int, ...]:
        """Nothing was said."""
        return ()

    def advance(self, states: Sequence[tuple[int, ...]], tokens: Sequence[int]) -> list[tuple[int, ...]]:
        """Remember each token."""
        return [(*state, token) for state, token in zip(states, tokens, strict=True)]

    def log_probabilities(self, row: np.ndarray, states: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Draw scores from a hash of what was said."""
        rows = [row + np.random.default_rng([7, *state]).normal(size=TOKENS) for state in states]
        scores = np.stack(rows)
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def heard(seed: int, steps: int = STEPS) -> np.ndarray:
    """What is heard at each step."""
    return np.random.default_rng(seed).normal(size=(steps, TOKENS))


def enumerated(rows: np.ndarray) -> dict[tuple[int, ...], float]:
    """Sum the probabilities of all ways to each sequence, at most MOST tokens a step."""
    speaker = TableSpeaker()
    ways: dict[tuple[int, ...], float] = {(): 0.0}
    for row in rows:
        ended: dict[tuple[int, ...], float] = {}
        for tokens, value in ways.items():
            for count in range(MOST + 1):
                for more in itertools.product(range(1, TOKENS), repeat=count):
                    total, said = value, tokens
                    for token in (*more, BLANK):
                        total += float(speaker.log_probabilities(row, [said])[0, token])
                        said = said if token == BLANK else (*said, token)
                    ended[said] = float(np.logaddexp(ended.get(said, -math.inf), total))
        ways = ended
    return ways


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_a_beam_that_holds_everything_is_exact(seed: int, weight: float):
    phrases = Phrases([(1, 2), (2, 2, 1)], weight=weight, num_tokens=TOKENS)

    def added(tokens: tuple[int, ...]) -> float:
        state, total = phrases.begin(), 0.0
        for token in tokens:
            total += float(phrases.scores([state])[0, token])
            (state,) = phrases.advance([state], [token])
        return total + float(phrases.ends([state])[0])

    totals = {tokens: value + added(tokens) for tokens, value in enumerated(heard(seed)).items()}
    expected = sorted(totals.items(), key=lambda one: -one[1])[:5]
    found = decode(TransducerBeam(TableSpeaker(), EXHAUSTIVE, fusion=phrases, most=MOST), heard(seed), count=5)
    assert [one.tokens for one in found] == [tokens for tokens, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [value for _, value in expected], atol=1e-9)


def test_a_beam_of_one_takes_the_likeliest_each_time():
    speaker = TableSpeaker()
    for seed in range(10):
        tokens: tuple[int, ...] = ()
        for row in heard(seed, steps=8):
            for _ in range(MOST):
                token = int(speaker.log_probabilities(row, [tokens])[0].argmax())
                if token == BLANK:
                    break
                tokens = (*tokens, token)
        assert decode(TransducerBeam(speaker, 1, most=MOST), heard(seed, steps=8))[0].tokens == tokens


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50), cut=st.integers(0, 8), size=st.sampled_from([1, 2, 5]))
def test_chunks_and_saved_states_change_nothing(seed: int, cut: int, size: int):
    fusion = Phrases([(1, 2, 1)], weight=1.0, num_tokens=TOKENS)
    whole, first, second = (TransducerBeam(TableSpeaker(), size, fusion=fusion) for _ in range(3))
    rows = heard(seed, steps=8)
    whole.push(rows)
    first.push(rows[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    second.push(rows[cut:])
    assert second.answers(3, ended=True) == whole.answers(3, ended=True)
    assert (second.steps, second.last_step(), second.quiet) == (whole.steps, whole.last_step(), whole.quiet)


class WordSpeaker(TableSpeaker):
    """Says a word of six letters at once, where it hears anything, and nothing else."""

    word = (1, 2, 1, 1, 2, 2)

    def log_probabilities(self, row: np.ndarray, states: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Give 95 % to what follows."""
        follows = [self.word[len(one) % 6] if row[0] or len(one) % 6 else BLANK for one in states]
        follows = [BLANK if len(one) >= 6 * row[1] else token for one, token in zip(states, follows, strict=True)]
        return np.log(np.where(np.arange(TOKENS) == np.array(follows)[:, None], 0.95, 0.025))


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_word_can_be_said_at_one_step(size: int):
    # as networks learn it: all letters where the word ends; column 0 tells that one does, column 1 how many have
    rows = np.array([[0, 0, 0], [1, 1, 0], [0, 1, 0], [1, 2, 0], [0, 2, 0]], dtype=float)
    assert decode(TransducerBeam(WordSpeaker(), size), rows)[0].tokens == 2 * WordSpeaker.word


def test_what_is_certain_is_shared_by_all():
    decoder = TransducerBeam(TableSpeaker(), 4)
    for row in heard(1, steps=12):
        before = decoder.answers()[0].tokens[: decoder.certain()]
        decoder.push(row[None])
        assert all(one.tokens[: len(before)] == before for one in decoder.answers(4))


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="the beam's size is 0"):
        TransducerBeam(TableSpeaker(), 0)
