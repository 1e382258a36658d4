"""The transducer (Graves 2012): a network that hears, one that remembers what was said, and what both say together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from rnnkit.errors import ShapeError

MOST_SCORES = 4_000_000  # of tokens at places of the lattice, that exist at a time


def transducer_loss(blanks: Tensor, labels: Tensor, steps: Tensor, counts: Tensor) -> Tensor:
    """Return -log p(tokens | steps) of every sequence, summed over all ways through its lattice.

    A way goes from (0, 0) to (steps - 1, counts) and out by a blank: a blank at (t, u) leads to the next step, the
    token that follows u ones to (t, u + 1). The gradients are the probabilities that a way takes each edge.

    Args:
        blanks: (batch, time, tokens + 1) log-probabilities of a blank.
        labels: (batch, time, tokens) of the token that follows.
        steps: (batch,) valid steps of each, at least one.
        counts: (batch,) tokens of each.

    Returns:
        (batch,) nats, in the precision of `blanks`.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    batch, time, places = blanks.shape
    if labels.shape != (batch, time, places - 1) or steps.shape != (batch,) or counts.shape != (batch,):
        raise ShapeError(
            f"transducer_loss got blanks {tuple(blanks.shape)}, labels {tuple(labels.shape)}, steps "
            f"{tuple(steps.shape)}, counts {tuple(counts.shape)}; expected (batch, time, tokens + 1), (batch, time, "
            "tokens), (batch,), (batch,)"
        )
    return _Lattice.apply(blanks, labels, steps, counts)


class _Lattice(torch.autograd.Function):
    """Forward and backward recursions in float64, a step of time at once: along the tokens they are cumulative sums."""

    @staticmethod
    def forward(ctx: Any, blanks: Tensor, labels: Tensor, steps: Tensor, counts: Tensor) -> Tensor:
        blank, label = blanks.detach().double(), labels.detach().double()
        alphas = _forward(blank, label)
        rows = torch.arange(len(blank), device=blank.device)
        ends = alphas[rows, steps - 1, counts] + blank[rows, steps - 1, counts]
        ctx.save_for_backward(blank, label, alphas, ends, steps, counts)
        ctx.dtype = blanks.dtype
        return -ends.to(blanks.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (gradient,) = gradients
        blank, label, alphas, ends, steps, counts = ctx.saved_tensors
        onward, beside = _backward(blank, label, steps, counts)
        scale = -gradient.double()[:, None, None]
        by_blank = scale * torch.exp(alphas + blank + onward - ends[:, None, None])
        by_label = scale * torch.exp(alphas[:, :, :-1] + label + beside - ends[:, None, None])
        return by_blank.to(ctx.dtype), by_label.to(ctx.dtype), None, None


def _forward(blank: Tensor, label: Tensor) -> Tensor:
    """Return (batch, time, tokens + 1) log-probabilities of all ways to each place."""
    said = torch.nn.functional.pad(label.cumsum(-1), (1, 0))  # (batch, time, tokens + 1) of all tokens at one step
    alphas = [said[:, 0]]
    for step in range(1, blank.shape[1]):
        arrived = alphas[-1] + blank[:, step - 1]
        alphas.append(said[:, step] + torch.logcumsumexp(arrived - said[:, step], dim=-1))
    return torch.stack(alphas, dim=1)


def _backward(blank: Tensor, label: Tensor, steps: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of all ways on, after a blank and after a token at each place; -inf outside."""
    batch, time, places = blank.shape
    token = torch.arange(places, device=blank.device)
    outside = token > counts[:, None]  # (batch, tokens + 1)
    end = torch.where(token == counts[:, None], 0.0, -torch.inf).to(blank)  # after the last blank
    left = torch.nn.functional.pad(label.flip(-1).cumsum(-1).flip(-1), (0, 1))  # of all tokens from each one on
    beta = blank.new_full((batch, places), -torch.inf)
    onward, beside = [], []
    for step in reversed(range(time)):
        after = torch.where((steps == step + 1)[:, None], end, beta)
        onward.append(after)
        going = (after + blank[:, step] - left[:, step]).masked_fill(outside, -torch.inf)
        beta = left[:, step] + torch.logcumsumexp(going.flip(-1), dim=-1).flip(-1)
        beta = beta.masked_fill(outside | (steps <= step)[:, None], -torch.inf)
        beside.append(beta[:, 1:])
    return torch.stack(onward[::-1], dim=1), torch.stack(beside[::-1], dim=1)


class Joiner(nn.Module):
    """Scores of every token from what is heard and what was said: W tanh(h + s) + b.

    Args:
        size: Of both.
        num_tokens: With the blank.

    Example:
        >>> import torch
        >>> joiner = Joiner(8, 5)
        >>> joiner(torch.zeros(2, 8), torch.zeros(2, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(self, size: int, num_tokens: int) -> None:
        super().__init__()
        self.output = nn.Linear(size, num_tokens)

    def forward(self, heard: Tensor, said: Tensor) -> Tensor:
        """Return scores, (..., num_tokens), of (..., size) each."""
        return self.output(torch.tanh(heard + said))

    def loss(
        self, heard: Tensor, said: Tensor, tokens: Tensor, steps: Tensor, counts: Tensor, *, blank: int = 0
    ) -> Tensor:
        """Return -log p(tokens | heard) of every sequence.

        The scores of all tokens exist for some steps at a time only, and are computed again for their gradients.

        Args:
            heard: (batch, time, size).
            said: (batch, tokens + 1, size), before each token and after the last.
            tokens: (batch, tokens), anything past each count.
            steps: (batch,) valid steps, at least one.
            counts: (batch,) valid tokens.
            blank: Its number.

        Returns:
            (batch,) nats.
        """
        width = max(1, MOST_SCORES // max(1, len(heard) * said.shape[1] * self.output.out_features))
        blanks, labels = [], []
        for chunk in heard.split(width, dim=1):
            found = checkpoint(self._edges, chunk, said, tokens, blank, use_reentrant=False, preserve_rng_state=False)
            blanks.append(found[0])
            labels.append(found[1])
        return transducer_loss(torch.cat(blanks, dim=1), torch.cat(labels, dim=1), steps, counts)

    def _edges(self, heard: Tensor, said: Tensor, tokens: Tensor, blank: int) -> tuple[Tensor, Tensor]:
        scores = self(heard[:, :, None], said[:, None]).float()  # (batch, time, tokens + 1, num_tokens)
        total = scores.logsumexp(-1)
        wanted = tokens[:, None, :, None].expand(-1, scores.shape[1], -1, 1)
        return scores[..., blank] - total, scores[:, :, :-1].gather(-1, wanted)[..., 0] - total[:, :, :-1]
