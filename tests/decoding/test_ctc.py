"""CTC: a beam is exact against enumeration, greedy takes nothing back, states go on elsewhere."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.decoding.ctc import GreedyCTC, PrefixBeam, least_steps
from rnnkit.decoding.fusion import Fusion, Phrases, SummedFusion
from rnnkit.decoding.hypotheses import BLANK, decode
from rnnkit.errors import ConfigError

TOKENS = 4
EXHAUSTIVE = 2000  # more than there are sequences of five steps


def scores(seed: int, steps: int = 5) -> np.ndarray:
    """Draw log-probabilities of steps."""
    values = 2 * np.random.default_rng(seed).normal(size=(steps, TOKENS))
    return values - np.log(np.exp(values).sum(1, keepdims=True))


def enumerated(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """Sum the probabilities of all paths to each sequence."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(TOKENS), repeat=len(log_probabilities)):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        value = sum(log_probabilities[step, token] for step, token in enumerate(path))
        found[tokens] = float(np.logaddexp(found.get(tokens, -math.inf), value))
    return found


def added(fusion: Fusion, tokens: tuple[int, ...]) -> float:
    """What a fusion adds to a whole sequence."""
    state, total = fusion.begin(), 0.0
    for token in tokens:
        row = fusion.scores([state])[0]
        total += row[token if len(row) > 1 else 0]
        (state,) = fusion.advance([state], [token])
    return total + float(fusion.ends([state])[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_that_holds_everything_is_exact(seed: int):
    log_probabilities = scores(seed)
    expected = sorted(enumerated(log_probabilities).items(), key=lambda one: -one[1])[:5]
    found = decode(PrefixBeam(EXHAUSTIVE), log_probabilities, count=5)
    assert [one.tokens for one in found] == [tokens for tokens, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [value for _, value in expected], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_fusion_is_added_exactly(seed: int):
    log_probabilities = scores(seed)
    phrases = [Phrases([(1, 2), (2, 3, 1)], weight=0.7, num_tokens=TOKENS) for _ in range(2)]
    fusion = SummedFusion([phrases[0], Phrases([(3,)], weight=0.4, num_tokens=TOKENS)])
    totals = {tokens: value + added(fusion, tokens) for tokens, value in enumerated(log_probabilities).items()}
    expected = sorted(totals.items(), key=lambda one: -one[1])[:5]
    found = decode(PrefixBeam(EXHAUSTIVE, fusion=fusion), log_probabilities, count=5)
    assert [one.tokens for one in found] == [tokens for tokens, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [value for _, value in expected], atol=1e-9)


def test_a_wider_beam_is_no_worse():
    for seed in range(20):
        log_probabilities = scores(seed, steps=30)
        found = [decode(PrefixBeam(size), log_probabilities)[0].score for size in (1, 4, 64)]
        assert found[0] <= found[1] + 1e-9
        assert found[1] <= found[2] + 1e-9


def test_greedy_joins_neighbours_and_leaves_blanks_out():
    steps = np.log(np.eye(TOKENS)[[1, 1, 0, 1, 2, 2, 0]] * 0.9 + 0.025)
    (found,) = decode(GreedyCTC(), steps)
    assert found.tokens == (1, 1, 2)
    assert [(one.step, one.last) for one in found.said] == [(0, 1), (3, 3), (4, 5)]
    assert found.said[0].log_probability == pytest.approx(math.log(0.925))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50), cut=st.integers(0, 20), size=st.sampled_from([1, 2, 5]), greedy=st.booleans())
def test_chunks_and_saved_states_change_nothing(seed: int, cut: int, size: int, greedy: bool):
    fusion = Phrases([(1, 2, 1)], weight=1.0, num_tokens=TOKENS)
    make = GreedyCTC if greedy else lambda: PrefixBeam(size, fusion=fusion)
    log_probabilities, whole, first, second = scores(seed, steps=20), make(), make(), make()
    whole.push(log_probabilities)
    first.push(log_probabilities[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    second.push(log_probabilities[cut:])
    assert second.answers(3, ended=True) == whole.answers(3, ended=True)
    assert second.steps == whole.steps == 20


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), size=st.sampled_from([1, 3, 8]))
def test_what_is_certain_is_not_taken_back(seed: int, size: int):
    decoder, log_probabilities = PrefixBeam(size), scores(seed, steps=25)
    for row in log_probabilities:
        before = decoder.answers()[0].tokens[: decoder.certain()]
        decoder.push(row[None])
        assert all(one.tokens[: len(before)] == before for one in decoder.answers(size))


def test_a_token_that_is_being_said_is_not_said_anew_after_a_cut():
    decoder, steps = GreedyCTC(), np.log(np.eye(TOKENS)[[1, 1, 1, 0, 1]] * 0.9 + 0.025)
    decoder.push(steps[:2])
    decoder.begin()
    decoder.push(steps[2:])
    assert decoder.answers()[0].tokens == (1,)
    assert decoder.last_step() == 4


def test_an_unfinished_phrase_gives_back_what_it_got():
    phrases = Phrases([(1, 2), (2, 3, 1)], weight=0.7, num_tokens=TOKENS)
    worth = {tokens: added(phrases, tokens) for tokens in [(1, 2), (2, 3), (2, 3, 1), (1, 2, 3, 1), (1, 1), (3,)]}
    expected = {(1, 2): 1.4, (2, 3): 0, (2, 3, 1): 2.1, (1, 2, 3, 1): 3.5, (1, 1): 0, (3,): 0}
    assert worth == pytest.approx(expected)


def test_a_phrase_begins_only_where_a_word_does():
    phrases = Phrases([(1, 2)], weight=1.0, num_tokens=TOKENS, starts=[3])
    assert added(phrases, (1, 2)) == 2
    assert added(phrases, (2, 1, 2)) == 0
    assert added(phrases, (2, 3, 1, 2)) == 2


def test_the_fewest_steps_count_the_blanks_between_equal_tokens():
    assert [least_steps(tokens) for tokens in ([], [1], [1, 2], [1, 1, 2, 2])] == [0, 1, 2, 6]


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="the beam's size is 0; expected 1 or more"):
        PrefixBeam(0)
