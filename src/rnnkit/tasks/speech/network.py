"""Convolutions that keep one step in so many, the stack, a score for every token: the network of a recogniser."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from rnnkit.data.tokens import UNKNOWN
from rnnkit.decoding.ctc import BLANK, LEAST
from rnnkit.kernels import State
from rnnkit.layers import LockedDropout, Subsampling
from rnnkit.tasks.speech.config import SpeechConfig


class SpeechBatch(NamedTuple):
    """Padded recordings.

    Attributes:
        frames: (batch, time, bands).
        lengths: (batch,) of the frames.
        tokens: (batch, tokens) int64, 0 past each end.
        counts: (batch,) of the tokens.
    """

    frames: Tensor
    lengths: Tensor
    tokens: Tensor
    counts: Tensor


class SpeechNetwork(nn.Module):
    """Scores of every token, and of the blank, at every step.

    Args:
        vocabulary_size: Tokens, the special ones included; the blank takes the place of DOCUMENT.
        config: Sizes and dropouts.
    """

    def __init__(self, vocabulary_size: int, config: SpeechConfig) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.front = Subsampling(config.bands, config.filters, factor=config.subsampling)
        self.dropout = LockedDropout(config.dropout)
        self.stack = config.make_stack(config.filters, bidirectional=config.bidirectional)
        self.output = nn.Linear(self.stack.output_size, vocabulary_size)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.output.weight.device

    @property
    def streamable(self) -> bool:
        """Whether it needs nothing of what has not come yet."""
        return self.stack.streamable

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state: of the convolutions, of the stack."""
        names = [f"front.{name}" for name in self.front.state_names]
        return (*names, *(f"stack.{name}" for name in self.stack.state_names))

    def initial_state(self, batch: int) -> State:
        """Return the state before the first frame."""
        return (*self.front.initial_state(batch), *self.stack.initial_state(batch))

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Score whole recordings.

        Args:
            frames: (batch, time, bands).
            lengths: (batch,).

        Returns:
            (batch, steps, vocabulary_size) log-probabilities, in float32, and (batch,) lengths in steps.
        """
        values, lengths = self.front(frames, lengths)
        outputs, _ = self.stack(self.dropout(values), None, lengths)
        return self._scores(outputs), lengths

    def advance(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Score the next frames of recordings that have come as far as one another.

        Args:
            frames: (batch, time, bands).
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, steps, vocabulary_size) log-probabilities of the steps that are whole now, and the state.
        """
        first = len(self.front.state_names)
        values, front = self.front.advance(frames, state[:first])
        outputs, stack = self.stack(values, state[first:])
        return self._scores(outputs), (*front, *stack)

    def finish(self, state: State) -> Tensor:
        """Score the step of the frames that wait for others, (batch, 0 or 1, vocabulary_size)."""
        first = len(self.front.state_names)
        outputs, _ = self.stack(self.front.finish(state[:first]), state[first:])
        return self._scores(outputs)

    def _scores(self, outputs: Tensor) -> Tensor:
        return self.output(self.dropout(outputs)).float().log_softmax(-1)

    def loss(self, batch: SpeechBatch, *, label_smoothing: float = 0.0) -> Tensor:
        """Add up -log p(tokens | frames) over all ways to say them, of every recording (Graves et al. 2006).

        Args:
            batch: None of whose texts needs more steps than there are.
            label_smoothing: Share of each step's loss that asks for equal scores of all tokens.

        Returns:
            Scalar, nats.
        """
        scores, lengths = self(batch.frames, batch.lengths)
        steps = scores.transpose(0, 1)  # (steps, batch, vocabulary_size), as torch's loss takes them
        total = ctc_loss(steps, batch.tokens, lengths, batch.counts, blank=BLANK, reduction="sum")
        if not label_smoothing:
            return total
        valid = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
        even = -(scores.mean(-1) * valid).sum()
        return (1 - label_smoothing) * total + label_smoothing * even


def sayable(scores: Tensor) -> np.ndarray:
    """Return log-probabilities, (..., vocabulary_size), among which none is <unk>'s: nobody says it."""
    values = scores.cpu().numpy()
    values[..., UNKNOWN] = LEAST
    return values
