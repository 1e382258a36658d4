"""The linear chain (Lafferty et al. 2001): labels of all steps of a sequence at once, learnt, decoded, how sure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rnnkit.decoding.fixed_lag import DEEPEST
from rnnkit.errors import ConfigError, ShapeError
from rnnkit.sequences import check_lengths, valid_mask

FORBIDDEN = -torch.inf


class Chain(NamedTuple):
    """What a path of labels scores beside its steps: to begin and end with a label, and to go from one to the next."""

    start: Tensor
    """(labels,); -inf where no path may begin so."""
    transitions: Tensor
    """(labels, labels), from row to column; -inf where a label may not follow."""
    end: Tensor
    """(labels,); -inf where no path may end so."""

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the three as float64 arrays."""
        return tuple(part.detach().cpu().double().numpy() for part in self)


class Messages(NamedTuple):
    """What the steps before and after say about each step (Rabiner 1989), scaled step by step, in float64."""

    forward: Tensor
    """(batch, time, labels) p(label | steps up to this one)."""
    backward: Tensor
    """(batch, time, labels); times `forward` it is p(label | all steps)."""
    onward: Tensor
    """(batch, time, labels); forward[t - 1] * exp(transition) * onward[t] is p(both labels | all steps); 0 past the
    length, and at the first step."""
    log_partition: Tensor
    """(batch,) logarithm of the sum over all paths of e to their score."""


class LinearChain(nn.Module):
    """A linear-chain CRF over label scores that some network gives each step.

    Args:
        num_labels: How many.
        starts: (num_labels,) bool, the labels a path may begin with; None allows all.
        follows: (num_labels, num_labels) bool, which label (column) may follow which (row); None allows all.
        ends: (num_labels,) bool, the labels a path may end with; None allows all.
        learnt: Whether transitions have scores. Without, training takes every step on its own (softmax), and only
            decoding minds what is allowed.

    Raises:
        ConfigError: If nothing is allowed.

    Example:
        >>> import torch
        >>> chain = LinearChain(2, follows=torch.tensor([[True, False], [True, True]]))
        >>> scores = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
        >>> chain.decode(scores, torch.tensor([2]))[0].tolist()
        [[0, 0]]
    """

    allowed_start: Tensor
    allowed_follow: Tensor
    allowed_end: Tensor

    def __init__(
        self,
        num_labels: int,
        *,
        starts: Tensor | None = None,
        follows: Tensor | None = None,
        ends: Tensor | None = None,
        learnt: bool = True,
    ) -> None:
        super().__init__()
        every = torch.ones(num_labels, dtype=torch.bool)
        self.register_buffer("allowed_start", every if starts is None else starts, persistent=False)
        self.register_buffer("allowed_end", every if ends is None else ends, persistent=False)
        square = torch.ones(num_labels, num_labels, dtype=torch.bool)
        self.register_buffer("allowed_follow", square if follows is None else follows, persistent=False)
        if not (self.allowed_start.any() and self.allowed_end.any()):
            raise ConfigError("a chain got no label to begin or to end with; expected one of each")
        self.learnt = learnt
        if learnt:
            self.start = nn.Parameter(torch.zeros(num_labels))
            self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
            self.end = nn.Parameter(torch.zeros(num_labels))

    def chain(self, temperature: float = 1.0) -> Chain:
        """Return the scores of what is allowed, divided by a temperature, and -inf for the rest."""
        parts = (self.start, self.transitions, self.end) if self.learnt else (self.allowed_start.new_zeros(()),) * 3
        masks = (self.allowed_start, self.allowed_follow, self.allowed_end)
        scores = (
            (part.double() / temperature).expand(mask.shape).masked_fill(~mask, FORBIDDEN)
            for part, mask in zip(parts, masks, strict=True)
        )
        return Chain(*scores)

    def loss(
        self,
        scores: Tensor,
        labels: Tensor,
        lengths: Tensor,
        *,
        label_smoothing: float = 0.0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Compute -log p(labels | scores) of each sequence.

        Args:
            scores: (batch, time, labels) of the steps.
            labels: (batch, time) int64, allowed paths; what stands past a length does not matter.
            lengths: (batch,).
            label_smoothing: Share of a step's score taken as the mean of all labels' instead of the given one's.
            temperature: Scores, of steps and chain, are divided by it.

        Returns:
            (batch,) nats, float64.
        """
        scores = scores.double() / temperature
        mask = valid_mask(lengths, scores.shape[1])
        given = scores.gather(2, labels.masked_fill(~mask, 0)[..., None])[..., 0]  # (batch, time)
        if label_smoothing:
            given = (1 - label_smoothing) * given + label_smoothing * scores.mean(2)
        given = torch.where(mask, given, 0.0).sum(1)
        if not self.learnt:
            return torch.where(mask, scores.logsumexp(2), 0.0).sum(1) - given
        chain = self.chain(temperature)
        total: Tensor = _LogPartition.apply(scores, lengths, *chain)
        return total - given - path_score(chain, labels, lengths)

    def decode(self, scores: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Find the best allowed path of each sequence (Viterbi 1967).

        Args:
            scores: (batch, time, labels).
            lengths: (batch,).

        Returns:
            Labels (batch, time), 0 past each length, and the paths' scores (batch,).
        """
        labels, best = best_paths(self.chain(), scores, lengths, count=1)
        return labels[:, 0], best[:, 0]


def path_score(chain: Chain, labels: Tensor, lengths: Tensor) -> Tensor:
    """Add up what the chain says of given paths.

    Args:
        chain: The scores.
        labels: (batch, time) int64.
        lengths: (batch,).

    Returns:
        (batch,), 0 for a path of no step, -inf for one that is not allowed.
    """
    time = labels.shape[1]
    labels = labels.masked_fill(~valid_mask(lengths, time), 0)
    last = labels.gather(1, (lengths - 1).clamp_min(0)[:, None])[:, 0]
    steps = chain.transitions[labels[:, :-1], labels[:, 1:]]  # (batch, time - 1)
    steps = torch.where(valid_mask(lengths - 1, time - 1), steps, 0.0)
    ends = chain.start[labels[:, 0]] + chain.end[last]
    return steps.sum(1) + torch.where(lengths > 0, ends, 0.0)


def messages(chain: Chain, scores: Tensor, lengths: Tensor) -> Messages:
    """Run the forward-backward algorithm, with two small products a step.

    Args:
        chain: The scores of what is allowed.
        scores: (batch, time, labels) of the steps.
        lengths: (batch,) of 1 or more.

    Returns:
        The messages; marginals are `forward * backward`.

    Raises:
        ShapeError: If lengths do not fit.
    """
    batch, time, _ = scores.shape
    lengths = check_lengths(lengths, batch=batch, time=time)
    if batch and int(lengths.min()) < 1:
        raise ShapeError("a chain got a sequence of no step; expected 1 or more")
    scores = scores.double()
    mask = valid_mask(lengths, time)
    highest = torch.where(mask, scores.amax(2), 0.0)
    odds = (scores - highest[..., None]).clamp_min(DEEPEST).exp()  # (batch, time, labels)
    start, transitions, end = (part.double().exp() for part in chain)
    follow = transitions.T.contiguous()
    forward, scales = torch.empty_like(odds), torch.ones_like(highest)
    for step in range(time):
        reached = odds[:, step] * (forward[:, step - 1] @ transitions if step else start)
        scale = reached.sum(1)
        reached = reached / scale[:, None]
        if step and not bool(mask[:, step].all()):  # a row that is over keeps its last step
            going = mask[:, step]
            reached = torch.where(going[:, None], reached, forward[:, step - 1])
            scale = torch.where(going, scale, 1.0)
        forward[:, step], scales[:, step] = reached, scale
    last = (forward[:, -1] * end).sum(1) if time else torch.ones(batch, dtype=odds.dtype)
    backward, onward = torch.empty_like(odds), torch.zeros_like(odds)
    after = end / last[:, None]  # (batch, labels)
    for step in reversed(range(time)):
        backward[:, step] = after
        if step:
            going = mask[:, step]
            onward[:, step] = odds[:, step] * after / scales[:, step, None] * going[:, None]
            after = torch.where(going[:, None], onward[:, step] @ follow, after)
    return Messages(forward, backward, onward, scales.log().sum(1) + highest.sum(1) + last.log())


class _LogPartition(torch.autograd.Function):
    """The logarithm of the sum over all paths; its gradient is the marginals."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, lengths: Tensor, *chain: Tensor) -> Tensor:
        found = messages(Chain(*chain), scores, lengths)
        ctx.save_for_backward(found.forward, found.backward, found.onward, chain[1], lengths)
        return found.log_partition

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        forward, backward, onward, transitions, lengths = ctx.saved_tensors
        weight = grads[0][:, None, None]
        marginals = forward * backward * weight
        marginals = torch.where(valid_mask(lengths, forward.shape[1])[..., None], marginals, 0.0)
        pairs = torch.einsum("bti,btj->ij", forward[:, :-1], onward[:, 1:] * weight) * transitions.exp()
        last = marginals.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, marginals.shape[2]))
        return marginals, None, marginals[:, 0].sum(0), pairs, last[:, 0].sum(0)


def best_paths(chain: Chain, scores: Tensor, lengths: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """Find the best allowed paths of each sequence, the best first.

    Args:
        chain: The scores of what is allowed.
        scores: (batch, time, labels) of the steps.
        lengths: (batch,).
        count: How many.

    Returns:
        Labels (batch, count, time), 0 past each length, and scores (batch, count), -inf where there are fewer paths.
    """
    batch, time, size = scores.shape
    lengths = check_lengths(lengths, batch=batch, time=time)
    if not time:
        return lengths.new_zeros(batch, count, 0), scores.new_zeros(batch, count)
    scores, mask = scores.double(), valid_mask(lengths, time)
    start, transitions, end = (part.double() for part in chain)
    best = scores.new_full((batch, count, size), FORBIDDEN)  # of the paths to each label, the best first
    best[:, 0] = start + scores[:, 0]
    origins: list[Tensor] = []
    still = torch.arange(count * size, device=scores.device).view(1, count, size)
    for step in range(1, time):
        every = (best[..., None] + transitions).view(batch, count * size, size)
        reached, origin = every.max(1, keepdim=True) if count == 1 else every.topk(count, dim=1)
        going = mask[:, step, None, None]
        best = torch.where(going, reached + scores[:, step, None], best)
        origins.append(torch.where(going, origin, still))
    best = torch.where((lengths > 0)[:, None, None], best + end, 0.0)
    found, place = best.view(batch, -1).topk(min(count, count * size), dim=1)  # (batch, count)
    labels = place.new_empty(batch, count, time)
    for step in reversed(range(time)):
        labels[..., step] = place % size
        if step:
            place = origins[step - 1].view(batch, -1).gather(1, place)
    return labels.masked_fill(~mask[:, None], 0), found
