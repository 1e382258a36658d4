"""Front, stack, pooling, scores: the network of every classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol, Self
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.errors import CheckpointError
from rnnkit.kernels import State
from rnnkit.layers import Pooling, Stack
from rnnkit.layers.dropout import locked_dropout

CHUNK_STEPS = 4096  # of a long sequence read at once where nothing is learnt


class Front(Protocol):
    """What turns steps into features for the stack, itself a module that may keep a state."""

    output_size: int
    state_names: tuple[str, ...]

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step."""
        ...

    def __call__(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return (batch, time, output_size) and the state after the last step."""
        ...


class DirectScores(nn.Module, ABC):
    """Scores labels beside the network, on a scale that validation data chooses: 0, so no part of training, until then.

    What it knows of the training data is kept in a file beside the weights.
    """

    gain: Tensor
    state_names: tuple[str, ...]
    file_name: ClassVar[str]
    kept: ClassVar[tuple[str, ...]]
    """Names of the buffers in the file, and of the arguments from which they are made again."""
    trust: ClassVar[float] = 0.0
    """How many validation sequences it takes to move its scale far from where it adds as much as the network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gain", torch.zeros(1))

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state before the first step."""

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, labels)."""

    @abstractmethod
    def running(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return (batch, time, labels) of every beginning, and the state after the last step."""

    def save(self, folder: Path) -> None:
        """Write its file."""
        np.savez(folder / self.file_name, **{name: getattr(self, name).cpu().numpy() for name in self.kept})

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote; None where there is none.

        Returns:
            What it knows, on a scale of 0.

        Raises:
            CheckpointError: If the file is damaged.
        """
        path = folder / cls.file_name
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as saved:
                return cls(**{name: saved[name] for name in cls.kept})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); copy the model again") from error


class ClassifierNetwork(nn.Module):
    """Scores of labels from sequences, whole or as they grow.

    Args:
        front: A module that turns steps into features.
        stack: Reads the features.
        pooling: Kind of pooling.
        dropout: Share of the pooled features dropped in training.
        num_labels: How many labels.
        direct: A module that scores labels beside the network, though not in training, if there is one.
    """

    def __init__(
        self,
        front: nn.Module,
        stack: Stack,
        *,
        pooling: str,
        dropout: float,
        num_labels: int,
        direct: DirectScores | None = None,
    ) -> None:
        super().__init__()
        self.front, self.stack, self.direct = front, stack, direct
        self.pooling = Pooling(pooling, stack.output_size, bidirectional=stack.bidirectional)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.pooling.output_size, num_labels)
        nn.init.zeros_(self.output.bias)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.output.weight.device

    @property
    def streamable(self) -> bool:
        """Whether every step's score needs nothing that follows."""
        return self.stack.streamable

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Score whole sequences.

        Args:
            inputs: (batch, time, ...) steps.
            lengths: (batch,).

        Returns:
            (batch, labels).
        """
        if not self.training and self.streamable and len(inputs) == 1 and inputs.shape[1] > CHUNK_STEPS:
            return self._long(inputs[:, : int(lengths[0])])
        features, _ = self.front(inputs, None, lengths)
        outputs, _ = self.stack(features, lengths=lengths)
        scores = self.output(self.dropout(self.pooling(outputs, lengths)))
        return scores if self.training or self.direct is None else scores + self.direct(inputs, lengths)

    def steps(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Score every beginning of whole sequences, as training on every step does: one draw drops features of all.

        Args:
            inputs: (batch, time, ...) steps.
            lengths: (batch,).

        Returns:
            (batch, time, labels), of no meaning past each length.
        """
        features, _ = self.front(inputs, None, lengths)
        outputs, _ = self.stack(features, lengths=lengths)
        pooled, _ = self.pooling.running(outputs, self.pooling.initial_state(len(inputs), like=outputs))
        return self.output(locked_dropout(pooled, self.dropout.p, training=self.training))

    def _long(self, inputs: Tensor) -> Tensor:
        """Score one long sequence in bounded memory."""
        state, scores = self.initial_state(1), None
        for chunk in inputs.split(CHUNK_STEPS, dim=1):
            scores, state = self.running(chunk, state)
        assert scores is not None
        return scores[:, -1]

    # Live

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the parts of a live state: of the front, the stack, the pooling and what scores beside them."""
        return tuple(f"{owner}.{name}" for owner, names in self._states() for name in names)

    def _states(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield "front", self.front.state_names  # type: ignore[misc]
        yield "stack", self.stack.state_names
        yield "pooling", self.pooling.state_names
        if self.direct is not None:
            yield "direct", self.direct.state_names

    def initial_state(self, batch: int) -> State:
        """Return the state before a sequence: (batch, ...) for each of `state_names`."""
        front, stack = self.front.initial_state(batch), self.stack.initial_state(batch)  # type: ignore[operator]
        direct = () if self.direct is None else self.direct.initial_state(batch)
        return (*front, *stack, *self.pooling.initial_state(batch, like=self.output.weight), *direct)

    def running(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Score every beginning of sequences, going on from `state`.

        Args:
            inputs: (batch, time, ...) steps, all of them valid.
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, time, labels), and the state after the last step.
        """
        first = len(self.front.state_names)  # type: ignore[arg-type]
        second = first + len(self.stack.state_names)
        third = second + len(self.pooling.state_names)
        features, front = self.front(inputs, state[:first])
        outputs, stack = self.stack(features, state[first:second])
        pooled, pooling = self.pooling.running(outputs, state[second:third])
        scores = self.output(pooled)
        if self.direct is None:
            return scores, (*front, *stack, *pooling)
        said, direct = self.direct.running(inputs, state[third:])
        return scores + said, (*front, *stack, *pooling, *direct)
