"""Recordings as frames, and their texts as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from rnnkit.data.audio import SHIFT_SECONDS
from rnnkit.data.ragged import Ragged
from rnnkit.data.texts import read_bytes
from rnnkit.data.tokens import UNKNOWN
from rnnkit.decoding.ctc import least_steps
from rnnkit.tasks.speech.config import SpeechConfig
from rnnkit.tasks.speech.features import TAIL_FRAMES, mask, vary
from rnnkit.tasks.speech.heads import SpeechBatch

if TYPE_CHECKING:
    from rnnkit.tasks.speech.task import SpeechRecognition

PARTS = ("frames", "tokens", "texts", "names")


@dataclass(frozen=True)
class SpeechData:
    """Encoded recordings.

    Attributes:
        frames: (frames, bands) energies of each, as heard.
        tokens: Of each text.
        texts: UTF-8 bytes of each text, as the model writes it.
        names: Likewise of where each recording stands.
    """

    frames: Ragged
    tokens: Ragged
    texts: Ragged
    names: Ragged

    def __len__(self) -> int:
        return len(self.frames)

    def sizes(self) -> dict[str, int]:
        """Count recordings, seconds and tokens, for a report."""
        unknown = self._unknown()
        return {
            "recordings": len(self),
            "seconds": round(len(self.frames.values) * SHIFT_SECONDS),
            "tokens": len(self.tokens.values),
            **({"unknown tokens": unknown} if unknown else {}),
        }

    def unknown_remarks(self) -> tuple[str, ...]:
        """Say how much of the texts the model has no token for, if anything."""
        unknown, every = self._unknown(), len(self.tokens.values)
        return (f"{unknown:,} of {every:,} tokens are none of the model's: it cannot say them",) if unknown else ()

    def _unknown(self) -> int:
        return int(np.count_nonzero(self.tokens.values == UNKNOWN))

    def references(self) -> list[str]:
        """Return the texts."""
        return read_bytes(self.texts)

    def text(self, index: int) -> str:
        """Return one text."""
        return self.texts[index].tobytes().decode("utf-8", "surrogatepass")

    def places(self) -> list[str]:
        """Return where the recordings stand, file:line."""
        return read_bytes(self.names)

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder; the frames are there already."""
        for name in PARTS[1:]:
            getattr(self, name).save(folder, name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `SpeechRecognition.encode` wrote; frames stay on disk until they are used."""
        return cls(*(Ragged.load(folder, name) for name in PARTS))


def learnable(lengths: np.ndarray, tokens: Sequence[np.ndarray] | Ragged, config: SpeechConfig) -> np.ndarray:
    """Return which recordings can be learnt from: those with steps enough to say their text.

    Args:
        lengths: (recordings,) of the frames.
        tokens: Of each text.
        config: How many frames a step has.

    Returns:
        (recordings,) bool.
    """
    steps = -(-(lengths + TAIL_FRAMES) // config.subsampling)
    needed = np.array([least_steps(one.tolist()) for one in tokens], dtype=np.int64)
    return (steps >= needed) & (needed > 0)


def lay_out(frames: Sequence[np.ndarray], tokens: Sequence[np.ndarray]) -> SpeechBatch:
    """Pad recordings, (frames, bands) each at their level with the tail behind them, and their tokens."""
    bands = frames[0].shape[1] if frames else 0
    tail = np.zeros((TAIL_FRAMES, bands), dtype=np.float32)
    ended = Ragged.join((part for one in frames for part in (one, tail)), like=tail[:0])
    rows, lengths = Ragged(ended.values, ended.ends[1::2]).padded(range(len(frames)))
    said, counts = Ragged.join(tokens, like=np.empty(0, dtype=np.int64)).padded(range(len(tokens)))
    return SpeechBatch(*map(torch.from_numpy, (rows, lengths, said, counts)))


class TrainingRecordings:
    """Makes training batches of some recordings, varied anew each time.

    Args:
        model: Brings frames to their level, and makes tokens of texts.
        data: The recordings.
        kept: (kept,) which of them.
    """

    def __init__(self, model: SpeechRecognition, data: SpeechData, kept: np.ndarray) -> None:
        self.model, self.data, self.kept, self.config = model, data, kept, model.config

    def __call__(self, indices: np.ndarray) -> SpeechBatch:
        """Lay some of the kept recordings out; what is drawn follows torch's generator."""
        generator = np.random.default_rng(int(torch.randint(2**62, ())))
        rows = [self._draw(int(self.kept[index]), generator) for index in indices]
        return lay_out([frames for frames, _ in rows], [tokens for _, tokens in rows])

    def _draw(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        frames, tokens = self._varied(index, generator), self.data.tokens[index]
        if self.config.augment_join and generator.random() < self.config.augment_join:
            other = int(self.kept[generator.integers(len(self.kept))])
            frames = np.concatenate([frames, self._varied(other, generator)])
            tokens = self.model.vocabulary.encode(f"{self.data.text(index)} {self.data.text(other)}").astype(np.int64)
        if not learnable(np.array([len(frames)]), [tokens], self.config)[0]:  # played too fast to be said
            frames, tokens = self.data.frames[index], self.data.tokens[index]
        return mask(self.model.place(frames)[0], self.config, generator), tokens

    def _varied(self, index: int, generator: np.random.Generator) -> np.ndarray:
        return vary(self.data.frames[index], self.config, generator, sample_rate=self.model.sample_rate)
