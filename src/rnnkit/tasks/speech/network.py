"""Convolutions that keep one step in so many, the stack, and a head that says tokens: the network of a recogniser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers import LockedDropout, Subsampling
from rnnkit.tasks.speech.config import SpeechConfig
from rnnkit.tasks.speech.features import TAIL_FRAMES
from rnnkit.tasks.speech.heads import CTCHead, SpeechBatch, TransducerHead


class SpeechNetwork(nn.Module):
    """What is heard at every step, for a head to say tokens of it.

    Args:
        vocabulary_size: Tokens, the special ones included; the blank takes the place of DOCUMENT.
        config: Sizes, dropouts and the head.
    """

    def __init__(self, vocabulary_size: int, config: SpeechConfig) -> None:
        super().__init__()
        self.front = Subsampling(config.bands, config.filters, factor=config.subsampling)
        self.dropout = LockedDropout(config.dropout)
        self.stack = config.make_stack(config.filters, bidirectional=config.bidirectional)
        size = self.stack.output_size
        self.head: CTCHead | TransducerHead = (
            CTCHead(size, vocabulary_size, tail=TAIL_FRAMES // config.subsampling)
            if config.head == "ctc"
            else TransducerHead(size, vocabulary_size, config)
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        first: Any = self.front.stages[0]
        return first.weight.device

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
        """Hear whole recordings.

        Args:
            frames: (batch, time, bands).
            lengths: (batch,).

        Returns:
            (batch, steps, row_size) for the head's decoders, float32, and (batch,) lengths in steps.
        """
        values, lengths = self.front(frames, lengths)
        outputs, _ = self.stack(self.dropout(values), None, lengths)
        return self.head.rows(self.dropout(outputs)), lengths

    def advance(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Hear the next frames of recordings that have come as far as one another.

        Args:
            frames: (batch, time, bands).
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, steps, row_size) of the steps that are whole now, and the state.
        """
        first = len(self.front.state_names)
        values, front = self.front.advance(frames, state[:first])
        outputs, stack = self.stack(values, state[first:])
        return self.head.rows(outputs), (*front, *stack)

    def finish(self, state: State) -> Tensor:
        """Hear the step of the frames that wait for others, (batch, 0 or 1, row_size)."""
        first = len(self.front.state_names)
        outputs, _ = self.stack(self.front.finish(state[:first]), state[first:])
        return self.head.rows(outputs)

    def loss(self, batch: SpeechBatch, *, label_smoothing: float = 0.0) -> Tensor:
        """Add up -log p(tokens | frames) over all ways to say them, of every recording.

        Args:
            batch: Of recordings with steps enough for their texts.
            label_smoothing: Share of each step's loss that asks for equal scores of all tokens; of CTC alone.

        Returns:
            Scalar, nats.
        """
        rows, steps = self(batch.frames, batch.lengths)
        return self.head.loss(rows, steps, batch, label_smoothing=label_smoothing)
