"""The transducer's loss: equal to the sum over all ways, its gradients those of finite differences, lean in memory."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from rnnkit.errors import ShapeError
from rnnkit.layers.transducer import Joiner, transducer_loss


def edges(steps: int, tokens: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Draw log-probabilities."""
    generator = torch.Generator().manual_seed(steps * 10 + tokens)
    draw = torch.rand(batch, steps, tokens + 1, 2, generator=generator, dtype=torch.float64) * 3
    return draw[..., 0] - 4, draw[:, :, :tokens, 1] - 4


def enumerated(blanks: Tensor, labels: Tensor) -> float:
    """Add up the probabilities of all ways through one lattice."""
    steps, tokens = blanks.shape[0], labels.shape[1]
    total = -math.inf
    for places in itertools.combinations(range(steps - 1 + tokens), tokens):
        step = token = 0
        way = 0.0
        for edge in range(steps - 1 + tokens):
            if edge in places:
                way, token = way + float(labels[step, token]), token + 1
            else:
                way, step = way + float(blanks[step, token]), step + 1
        way += float(blanks[-1, -1])
        total = max(total, way) + math.log1p(math.exp(-abs(total - way))) if total > -math.inf else way
    return -total


@pytest.mark.parametrize(("steps", "tokens"), [(1, 0), (1, 3), (4, 0), (2, 1), (4, 3), (5, 4)])
def test_the_loss_is_the_sum_over_all_ways(steps: int, tokens: int):
    blanks, labels = edges(steps, tokens)
    found = transducer_loss(blanks, labels, torch.tensor([steps]), torch.tensor([tokens]))
    assert float(found) == pytest.approx(enumerated(blanks[0], labels[0]), abs=1e-12)


def test_the_gradients_are_those_of_finite_differences():
    blanks, labels = edges(4, 3, batch=3)
    steps, counts = torch.tensor([4, 2, 1]), torch.tensor([3, 1, 2])
    inputs = (blanks.requires_grad_(), labels.requires_grad_())
    assert torch.autograd.gradcheck(lambda one, other: transducer_loss(one, other, steps, counts), inputs)


def test_what_stands_past_the_ends_reaches_neither_loss_nor_gradient():
    blanks, labels = edges(5, 4, batch=2)
    blanks[1, 3:], blanks[1, :, 3:], labels[1, 3:], labels[1, :, 2:] = -50.0, -60.0, -70.0, -80.0
    blanks, labels = blanks.requires_grad_(), labels.requires_grad_()
    found = transducer_loss(blanks, labels, torch.tensor([5, 3]), torch.tensor([4, 2]))
    alone = transducer_loss(blanks[1:, :3, :3], labels[1:, :3, :2], torch.tensor([3]), torch.tensor([2]))
    assert float(found[1].detach()) == pytest.approx(float(alone.detach()), abs=1e-12)
    found.sum().backward()
    assert blanks.grad is not None
    assert labels.grad is not None
    assert not blanks.grad[1, 3:].any()
    assert not labels.grad[1, :, 2:].any()
    assert torch.isfinite(blanks.grad).all()


def test_a_long_lattice_keeps_its_precision():
    blanks, labels = edges(600, 80)
    steps, counts = torch.tensor([600]), torch.tensor([80])
    alphas = torch.full((600, 81), -torch.inf, dtype=torch.float64)
    alphas[0, 0] = 0.0
    for step in range(600):
        for token in range(81):
            if step:
                alphas[step, token] = torch.logaddexp(
                    alphas[step, token], alphas[step - 1, token] + blanks[0, step - 1, token]
                )
            if token:
                alphas[step, token] = torch.logaddexp(
                    alphas[step, token], alphas[step, token - 1] + labels[0, step, token - 1]
                )
    expected = -(alphas[-1, -1] + blanks[0, -1, -1])
    torch.testing.assert_close(transducer_loss(blanks, labels, steps, counts)[0], expected, rtol=1e-10, atol=0)


def test_the_joiner_in_chunks_is_the_joiner_at_once(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    joiner = Joiner(6, 5).double()
    heard, said = torch.randn(2, 7, 6, dtype=torch.float64), torch.randn(2, 4, 6, dtype=torch.float64)
    tokens, steps, counts = torch.tensor([[1, 2, 3], [4, 1, 0]]), torch.tensor([7, 5]), torch.tensor([3, 2])
    results = []
    for most in (4_000_000, 60):
        monkeypatch.setattr("rnnkit.layers.transducer.MOST_SCORES", most)
        inputs = heard.clone().requires_grad_(), said.clone().requires_grad_()
        joiner.zero_grad()
        loss = joiner.loss(*inputs, tokens, steps, counts)
        loss.sum().backward()
        results.append([loss.detach(), *(one.grad for one in (*inputs, *joiner.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)  # scores are float32
    scores = joiner(heard[0, :, None], said[0, None]).log_softmax(-1)
    wanted = scores[:, :3].gather(-1, tokens[0, None, :, None].expand(7, -1, 1))[..., 0]
    assert float(results[0][0][0]) == pytest.approx(enumerated(scores[..., 0].detach(), wanted.detach()), abs=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    blanks, labels = edges(3, 2)
    with pytest.raises(ShapeError, match=r"blanks \(1, 3, 3\), labels \(1, 3, 1\)"):
        transducer_loss(blanks, labels[:, :, :1], torch.tensor([3]), torch.tensor([2]))
