"""Labelled sequences as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged, load_array


@dataclass(frozen=True)
class LabelledBatch:
    """Padded sequences and their targets."""

    inputs: Tensor
    """(batch, time, ...)"""
    lengths: Tensor
    """(batch,)"""
    targets: Tensor
    """(batch,) label numbers, or (batch, labels) bool."""


@dataclass(frozen=True)
class LabelledSequences:
    """Encoded sequences with their targets."""

    names: ClassVar[tuple[str, str]] = ("sequences", "steps")
    """What a report calls a sequence and a step, in the plural."""

    steps: Ragged
    targets: np.ndarray
    """(sequences,) int64 label numbers, or (sequences, labels) bool."""

    def __len__(self) -> int:
        return len(self.targets)

    def sizes(self) -> dict[str, int]:
        """Count sequences and steps, and say how long the longest is, for a report."""
        sequences, steps = self.names
        longest = int(self.steps.lengths.max(initial=0))
        return {sequences: len(self), steps: len(self.steps.values), f"{steps} of the longest": longest}

    def batch(self, indices: np.ndarray, *, device: torch.device, longest: int | None = None) -> LabelledBatch:
        """Lay some sequences out, at most their first `longest` steps."""
        rows, lengths = self.steps.padded(indices, longest=longest)
        if rows.dtype.kind in "iu":
            rows = rows.astype(np.int64)
        parts = (torch.from_numpy(part).to(device) for part in (rows, lengths, self.targets[indices]))
        return LabelledBatch(*parts)

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.steps.save(folder, "steps")
        np.save(folder / "targets.npy", self.targets)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the steps stay on disk until they are used."""
        return cls(Ragged.load(folder, "steps"), load_array(folder / "targets.npy"))
