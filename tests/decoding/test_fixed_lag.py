"""Labels that become final a few steps late: against Viterbi's, and against the sum over all paths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.decoding.crf import LinearChain
from rnnkit.decoding.fixed_lag import Decided, FixedLag

FOLLOWS = torch.tensor([[True, True, False], [True, False, True], [True, True, True]])
STARTS = torch.tensor([True, True, False])


def chain_of(seed: int) -> LinearChain:
    torch.manual_seed(seed)
    chain = LinearChain(3, follows=FOLLOWS, starts=STARTS, ends=torch.tensor([True, False, True]))
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter, std=2)
    return chain


def run(chain: LinearChain, scores: np.ndarray, lag: int) -> list[Decided]:
    live = FixedLag(*chain.chain().arrays(), lag=lag)
    early = [live.push(row) for row in scores]
    assert [one is None for one in early] == [step < lag for step in range(len(scores))]
    return [one for one in early if one is not None] + live.finish()


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=80)
def test_no_forbidden_sequence_comes_out_and_a_long_lag_gives_the_best_path(seed: int, time: int, lag: int):
    chain = chain_of(seed)
    scores = 2 * torch.randn(time, 3, dtype=torch.float64)
    labels = [label for label, _ in run(chain, scores.numpy(), lag)]
    assert STARTS[labels[0]]
    assert all(FOLLOWS[before, after] for before, after in itertools.pairwise(labels))
    best = chain.decode(scores[None], torch.tensor([time]))[0][0].tolist()
    assert [label for label, _ in run(chain, scores.numpy(), time)] == best
    assert [label for label, _ in run(chain, scores.numpy(), time + 3)] == best


def share(chain: LinearChain, scores: np.ndarray, step: int, label: int, *, ended: bool) -> float:
    """Return p(label at a step | these scores), over all paths."""
    start, transitions, end = (part.detach().numpy() for part in chain.chain())
    total = wanted = 0.0
    for path in itertools.product(range(3), repeat=len(scores)):
        score = start[path[0]] + sum(row[place] for row, place in zip(scores, path, strict=True))
        score += sum(transitions[before, after] for before, after in itertools.pairwise(path))
        weight = math.exp(score + (end[path[-1]] if ended else 0))
        total, wanted = total + weight, wanted + weight * (path[step] == label)
    return wanted / total


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_probability_is_that_given_the_steps_so_far(lag: int):
    chain, scores = chain_of(11), np.random.default_rng(0).normal(size=(6, 3))
    for step, (label, probability) in enumerate(run(chain, scores, lag)):
        seen = min(step + lag + 1, len(scores))
        ended = step + lag + 1 > len(scores)
        assert probability == pytest.approx(share(chain, scores[:seen], step, label, ended=ended), abs=1e-9)


def test_its_state_goes_on_elsewhere_and_is_finite():
    chain, scores = chain_of(12), np.random.default_rng(1).normal(size=(20, 3))
    expected = run(chain, scores, 2)
    first, second = FixedLag(*chain.chain().arrays(), lag=2), FixedLag(*chain.chain().arrays(), lag=2)
    found = [first.push(row) for row in scores[:9]]
    assert all(np.isfinite(array).all() for array in first.arrays().values())
    second.take(first.arrays())
    found += [second.push(row) for row in scores[9:]]
    assert [one for one in found if one is not None] + second.finish() == expected


def test_it_begins_anew_after_reset_and_ends_once():
    chain, scores = chain_of(13), np.random.default_rng(2).normal(size=(5, 3))
    live = FixedLag(*chain.chain().arrays(), lag=1)
    live.push(scores[0])
    live.reset()
    assert live.finish() == []
    found = [live.push(row) for row in scores]
    assert [one for one in found if one is not None] + live.finish() == run(chain, scores, 1)
    assert live.finish() == []
