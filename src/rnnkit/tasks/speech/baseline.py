"""What a recogniser should beat: the text of the recording that sounds most alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.baselines.neighbours import NearestSeries
from rnnkit.data.ragged import Ragged
from rnnkit.data.texts import keep_bytes, read_bytes


@dataclass(frozen=True)
class NearestRecording:
    """The training recordings, stretched to one length, and their texts.

    Attributes:
        series: Answers with the number of a text.
        texts: Each once.
    """

    series: NearestSeries
    texts: tuple[str, ...]

    @classmethod
    def fit(cls, recordings: Sequence[np.ndarray], texts: Sequence[str]) -> Self:
        """Keep training recordings, (frames, bands) each, and their texts."""
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        heard = [number for number, one in enumerate(recordings) if len(one)]
        targets = np.array([numbers[texts[number]] for number in heard])
        found = NearestSeries.fit([recordings[number] for number in heard], targets, num_labels=len(numbers))
        return cls(found, tuple(numbers))

    def answer(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Return the text of the nearest recording of each, (frames, bands)."""
        heard = [one if len(one) else np.zeros((1, one.shape[1]), dtype=np.float32) for one in recordings]
        return [self.texts[number] for number in self.series.labels(heard)]

    def save(self, folder: Path) -> None:
        """Write neighbours.npz and the texts."""
        self.series.save(folder)
        keep_bytes(self.texts).save(folder, "texts")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(NearestSeries.load(folder), tuple(read_bytes(Ragged.load(folder, "texts"))))
