"""Guided CTC: what it counts, its gradient, and what it is for."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import ctc_loss

from rnnkit.layers import GRU, guided_ctc_loss
from rnnkit.layers.ctc import GUIDE

BLANK = 0


def paths(text: list[int], steps: int, *, guide: float, end: int) -> list[tuple[int, ...]]:
    """All ways to say a text, none of whose tokens comes before its time, or at or after the end."""
    ends = [guide * (place + 0.5) / len(text) * end for place in range(len(text))]
    times = [
        ends[next(first for first in range(place + 1) if len(set(text[first : place + 1])) == 1)]
        for place in range(len(text))
    ]
    found = []
    for path in itertools.product(range(4), repeat=steps):
        runs = [(token, [step for step, _ in run]) for token, run in itertools.groupby(enumerate(path), lambda x: x[1])]
        said = [(token, places[0], places[-1]) for token, places in runs if token != BLANK]
        fits = all(first >= time and last < end for (_, first, last), time in zip(said, times, strict=False))
        if [token for token, _, _ in said] == text and fits:
            found.append(path)
    return found


@pytest.mark.parametrize("text", [[1], [2, 1], [1, 1], [3, 2, 1], [1, 1, 2]], ids=str)
@pytest.mark.parametrize("margin", [0, 2])
def test_it_adds_up_the_paths_that_are_not_too_early_or_late(text: list[int], margin: int):
    rows = torch.randn(1, 7, 4, dtype=torch.double, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    rest = torch.tensor([7]), torch.tensor([text]), torch.tensor([len(text)])
    found = guided_ctc_loss(rows, *rest, blank=BLANK, guide=0.75, margin=margin)
    needed = len(text) + sum(one == other for one, other in itertools.pairwise(text))
    guided = 2 * needed <= 7 - margin
    allowed = paths(text, 7, guide=0.75 if guided else 0, end=7 - margin if guided else 7)
    probability = sum(float(rows[0, range(7), list(path)].sum().exp()) for path in allowed)
    assert len(allowed) > 0
    assert float(torch.exp(-found)) == pytest.approx(probability, rel=1e-9)


def a_batch() -> tuple[torch.Tensor, ...]:
    logits = torch.randn(3, 9, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[1, 1, 2], [3, 2, 0], [4, 0, 0]])
    return logits, torch.tensor([9, 7, 5]), tokens, torch.tensor([3, 2, 1])


def test_without_a_guide_it_is_plain_ctc():
    logits, steps, tokens, counts = a_batch()
    logits.requires_grad_()
    rows = logits.log_softmax(-1)
    plain = ctc_loss(rows.transpose(0, 1), tokens, steps, counts, blank=BLANK, reduction="sum")
    ours = guided_ctc_loss(rows, steps, tokens, counts, blank=BLANK, guide=0)
    torch.testing.assert_close(ours, plain)
    (expected,) = torch.autograd.grad(plain, logits, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(ours, logits)[0], expected)


def test_its_gradient_is_that_of_its_value():
    logits, *rest = a_batch()
    logits.requires_grad_()
    (found,) = torch.autograd.grad(guided_ctc_loss(logits.log_softmax(-1), *rest, blank=BLANK), logits)
    for place in [(0, 2, 1), (0, 8, 2), (1, 0, 3), (1, 5, 2), (2, 4, 4), (2, 4, 0)]:
        shift = torch.zeros_like(logits)
        shift[place] = 1e-6
        with torch.no_grad():
            more, less = (guided_ctc_loss((logits + by).log_softmax(-1), *rest, blank=BLANK) for by in (shift, -shift))
        assert float(found[place]) == pytest.approx(float(more - less) / 2e-6, abs=1e-6)


def test_a_text_that_just_fits_is_not_made_impossible():
    rows = torch.zeros(1, 7, 3).log_softmax(-1)
    loss = guided_ctc_loss(rows, torch.tensor([7]), torch.tensor([[1, 1, 1, 1]]), torch.tensor([4]), blank=BLANK)
    assert torch.isfinite(loss)


def share_wrong(guide: float) -> float:
    """Train a causal network to name a sound that is only heard late; return how often it is wrong at last."""
    torch.manual_seed(1)
    layer, output = GRU(4, 24), nn.Linear(24, 5)
    optimizer = torch.optim.Adam([*layer.parameters(), *output.parameters()], lr=0.02)
    steps, counts = torch.full((32,), 12), torch.ones(32, dtype=torch.int64)
    for update in range(160):
        tokens = torch.randint(1, 5, (32, 1))
        sound = 0.3 * torch.randn(32, 12, 4)
        sound[:, 5:9] += nn.functional.one_hot(tokens - 1, 4)
        rows = output(layer(sound)[0]).log_softmax(-1)
        loss = guided_ctc_loss(rows, steps, tokens, counts, blank=BLANK, guide=guide if update < 80 else 0)
        optimizer.zero_grad()
        (loss / 32).backward()
        optimizer.step()
    likeliest = rows[..., 1:].amax(1).argmax(-1) + 1  # (batch,)
    return float((likeliest != tokens[:, 0]).float().mean())


def test_it_frees_a_causal_network_from_guessing_in_the_first_step():
    assert share_wrong(GUIDE) < 0.1
    assert share_wrong(0) > 0.5
