"""The linear chain against the sum over all its paths, written out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnkit.decoding.crf import LinearChain, best_paths, messages, path_score
from rnnkit.errors import ConfigError, ShapeError


@dataclass
class Case:
    """A chain, the scores of a ragged batch, and every allowed path with its score."""

    chain: LinearChain
    scores: Tensor
    lengths: Tensor

    def paths(self, row: int) -> list[tuple[float, tuple[int, ...]]]:
        """List the allowed paths of one sequence, the best first."""
        start, transitions, end = (part.tolist() for part in self.chain.chain())
        scores, length = self.scores[row].tolist(), int(self.lengths[row])
        found = []
        for path in itertools.product(range(len(start)), repeat=length):
            score = start[path[0]] + end[path[-1]] + sum(scores[step][label] for step, label in enumerate(path))
            score += sum(transitions[before][after] for before, after in itertools.pairwise(path))
            if score > -math.inf:
                found.append((score, path))
        return sorted(found, reverse=True)

    def log_partition(self, row: int) -> float:
        return torch.tensor([score for score, _ in self.paths(row)], dtype=torch.float64).logsumexp(0).item()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    torch.manual_seed(draw(st.integers(0, 10_000)))
    labels, time, batch = draw(st.integers(2, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    masks = [torch.rand(shape) < 0.7 for shape in ((labels,), (labels, labels), (labels,))]
    starts, follows, ends = masks
    starts[0] = ends[0] = follows[0, 0] = True  # some path is always allowed
    chain = LinearChain(labels, starts=starts, follows=follows, ends=ends)
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter, std=2)
    lengths = torch.tensor(draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch)))
    return Case(chain, 3 * torch.randn(batch, time, labels, dtype=torch.float64), lengths)


@given(cases())
@settings(max_examples=60)
def test_the_loss_is_minus_the_logarithm_of_the_share_of_a_path(case: Case):
    labels = torch.zeros(case.scores.shape[:2], dtype=torch.int64)
    for row, loss in enumerate(case.chain.loss(case.scores, labels, case.lengths).tolist()):
        zeros = next(score for score, path in case.paths(row) if not any(path))
        assert loss == pytest.approx(case.log_partition(row) - zeros, abs=1e-9)


@given(cases(), st.integers(1, 12))
@settings(max_examples=60)
def test_the_best_paths_are_the_best_of_all_and_none_is_forbidden(case: Case, count: int):
    labels, scores = best_paths(case.chain.chain(), case.scores, case.lengths, count=count)
    for row in range(len(case.scores)):
        expected = case.paths(row)[:count]
        length = int(case.lengths[row])
        found = [
            (score, tuple(path[:length]))
            for score, path in zip(scores[row].tolist(), labels[row].tolist(), strict=False)
            if score > -math.inf
        ]
        assert [path for _, path in found] == [path for _, path in expected]
        assert [score for score, _ in found] == pytest.approx([score for score, _ in expected])
        assert not labels[row, :, length:].any()


@given(cases())
@settings(max_examples=60)
def test_marginals_are_sums_over_paths(case: Case):
    found = messages(case.chain.chain(), case.scores, case.lengths)
    for row in range(len(case.scores)):
        expected = torch.zeros_like(case.scores[row])
        for score, path in case.paths(row):
            for step, label in enumerate(path):
                expected[step, label] += math.exp(score - case.log_partition(row))
        length = int(case.lengths[row])
        marginals = (found.forward * found.backward)[row, :length]
        assert torch.allclose(marginals, expected[:length], atol=1e-9)
        assert found.log_partition[row].item() == pytest.approx(case.log_partition(row))


def test_the_gradient_is_that_of_the_loss_written_out():
    torch.manual_seed(3)
    follows = torch.tensor([[True, True, False], [True, False, True], [True, True, True]])
    chain = LinearChain(3, follows=follows).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter)
    lengths, labels = torch.tensor([4, 1, 3]), torch.tensor([[0, 1, 2, 1], [2, 0, 0, 0], [1, 0, 0, 2]])
    scores = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)

    def loss(scores: Tensor, *parts: Tensor) -> Tensor:
        for parameter, part in zip(chain.parameters(), parts, strict=True):
            parameter.data = part.data
        return chain.loss(scores, labels, lengths, label_smoothing=0.1)

    loss(scores, *chain.parameters()).sum().backward()
    for tensor in (scores, *chain.parameters()):
        assert tensor.grad is not None
        for place in itertools.product(*map(range, tensor.shape)):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    tensor[place] += step
                    ends.append(loss(scores, *chain.parameters()).sum().item())
                    tensor[place] -= step
            assert tensor.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)
    assert not chain.transitions.grad[~follows].any()


def test_what_stands_past_a_length_changes_nothing():
    torch.manual_seed(4)
    chain, lengths = LinearChain(3), torch.tensor([2, 5])
    torch.nn.init.normal_(chain.transitions)
    scores, labels = torch.randn(2, 5, 3), torch.randint(3, (2, 5))
    other = scores.clone()
    other[0, 2:] = 1e6
    junk = labels.clone()
    junk[0, 2:] = -1
    assert torch.equal(chain.loss(scores, labels, lengths), chain.loss(other, junk, lengths))
    assert torch.equal(chain.decode(scores, lengths)[0], chain.decode(other, lengths)[0])
    alone = chain.loss(scores[:1, :2], labels[:1, :2], lengths[:1])
    assert torch.allclose(chain.loss(scores, labels, lengths)[:1], alone, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0, 1e4])
def test_scores_of_any_size_stay_finite(scale: float):
    torch.manual_seed(5)
    chain = LinearChain(4, follows=torch.rand(4, 4) < 0.6)
    scores = (scale * torch.randn(3, 50, 4)).requires_grad_()
    lengths = torch.tensor([50, 20, 1])
    labels = chain.decode(scores, lengths)[0]
    loss = chain.loss(scores, labels, lengths)
    loss.sum().backward()
    assert (loss >= -1e-6).all()
    assert torch.isfinite(scores.grad).all()


def test_a_chain_that_learns_no_transitions_is_a_softmax_a_step():
    torch.manual_seed(6)
    follows = torch.tensor([[True, False], [True, True]])
    chain = LinearChain(2, follows=follows, learnt=False)
    assert not list(chain.parameters())
    scores, labels, lengths = torch.randn(2, 4, 2), torch.randint(2, (2, 4)), torch.tensor([4, 2])
    each = torch.nn.functional.cross_entropy(scores.transpose(1, 2), labels, reduction="none")
    expected = torch.stack([each[0].sum(), each[1, :2].sum()])
    assert torch.allclose(chain.loss(scores, labels, lengths).float(), expected, atol=1e-5)
    best = chain.decode(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]), torch.tensor([2]))[0]
    assert best.tolist() == [[1, 1]]  # 0 may not be followed by 1


def test_a_temperature_divides_all_scores():
    torch.manual_seed(7)
    chain = LinearChain(3)
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter)
    scores, labels, lengths = torch.randn(1, 4, 3), torch.randint(3, (1, 4)), torch.tensor([4])
    cooled = LinearChain(3)
    with torch.no_grad():
        for mine, theirs in zip(cooled.parameters(), chain.parameters(), strict=True):
            mine.copy_(theirs / 2)
    expected = cooled.loss(scores / 2, labels, lengths)
    assert torch.allclose(chain.loss(scores, labels, lengths, temperature=2.0), expected)


def test_a_forbidden_path_scores_minus_infinity_and_an_empty_one_nothing():
    chain = LinearChain(2, follows=torch.tensor([[True, False], [True, True]])).chain()
    labels = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert path_score(chain, labels, torch.tensor([3, 3, 0])).tolist() == [-math.inf, 0, 0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="no label to begin or to end"):
        LinearChain(2, starts=torch.tensor([False, False]))
    with pytest.raises(ShapeError, match="a sequence of no step"):
        messages(LinearChain(2).chain(), torch.zeros(1, 3, 2), torch.tensor([0]))
