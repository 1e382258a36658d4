"""What a recogniser's network says of sound that arrives in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.audio import Hearing, frame_length
from rnnkit.kernels import State
from rnnkit.streaming import Question, Work
from rnnkit.tasks.speech.features import TAIL_FRAMES

if TYPE_CHECKING:
    from rnnkit.tasks.speech.task import SpeechRecognition

CHUNK_FRAMES = 1000  # read at a time, so that the memory that a long recording takes is bounded


class Listener:
    """Hears, brings to level and scores: the frames are those of the whole bit by bit.

    Args:
        model: The recogniser, of one direction.

    Attributes:
        samples: Heard so far.
    """

    def __init__(self, model: SpeechRecognition) -> None:
        self.model = model
        model.network.eval()
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        self._hearing = Hearing(self.model.sample_rate, bands=self.model.config.bands)
        self._level = self.model.level.begin()
        self._state: State = self.model.network.initial_state(1)
        self.samples = 0

    @property
    def seconds(self) -> float:
        """How much has been heard."""
        return self.samples / self.model.sample_rate

    def taking(self, samples: np.ndarray) -> Work:
        """Take more sound, (samples,), and return a row for decoders of each step that is whole, (steps, size)."""
        frames = self._hearing.push(samples)
        self.samples += len(samples)
        placed, self._level = self.model.place(frames, self._level)
        return (yield from self._read(placed))

    def ending(self) -> Work:
        """End the sequence: return the rows of what the network still has to say, (steps, size)."""
        tail = yield from self._read(np.zeros((TAIL_FRAMES, self.model.config.bands), dtype=np.float32))
        with torch.inference_mode():
            return np.concatenate([tail, self.model.network.head.sayable(self.model.network.finish(self._state)[0])])

    def _read(self, frames: np.ndarray) -> Work:
        network, parts = self.model.network, []
        for first in range(0, len(frames), CHUNK_FRAMES):
            inputs = torch.from_numpy(frames[None, first : first + CHUNK_FRAMES]).to(network.device)
            waiting = network.front.waiting(self._state)
            heard, self._state = yield Question(network.advance, inputs, self._state, alike=waiting)
            parts.append(network.head.sayable(heard[0]))
        return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; `sound` has room for a frame of samples."""
        sound = np.zeros(frame_length(self.model.sample_rate), dtype=np.float32)
        sound[: len(self._hearing.rest)] = self._hearing.rest
        return {
            "sound": torch.from_numpy(sound),
            "waiting": torch.tensor([len(self._hearing.rest), self.samples]),
            "level": torch.from_numpy(self._level),
            **dict(zip(self.model.network.state_names, self._state, strict=True)),
        }

    def take(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        waiting, self.samples = tensors["waiting"].tolist()
        self._hearing.rest = tensors["sound"].numpy()[:waiting].copy()
        self._level = tensors["level"].numpy().copy()
        self._state = tuple(tensors[name] for name in self.model.network.state_names)
