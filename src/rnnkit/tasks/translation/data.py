"""Pairs as tokens, with the texts themselves for scores and for subword dropout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from torch import Tensor

from rnnkit.data.ragged import Ragged, load_array
from rnnkit.data.texts import read_bytes
from rnnkit.data.tokens import UNKNOWN
from rnnkit.tasks.translation.config import TranslationConfig


class PairBatch(NamedTuple):
    """Padded pairs.

    Attributes:
        source: (batch, source_time) int64.
        lengths: (batch,) of the sources.
        inputs: (batch, time) int64, the token before each target.
        targets: (batch, time) int64, IGNORED past each end.
    """

    source: Tensor
    lengths: Tensor
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class PairData:
    """Encoded pairs.

    Attributes:
        sources: Tokens of the source of every pair, DOCUMENT before them.
        targets: Likewise of its translation.
        owners: (pairs,) which text each is a translation of.
        source_texts: UTF-8 bytes of each text, as they stood in the file.
        target_texts: Of each pair's translation.
    """

    sources: Ragged
    targets: Ragged
    owners: np.ndarray
    source_texts: Ragged
    target_texts: Ragged

    def __len__(self) -> int:
        return len(self.targets)

    def sizes(self) -> dict[str, int]:
        """Count texts, pairs and tokens, for a report."""
        unknown = sum(int(np.count_nonzero(one.values == UNKNOWN)) for one in (self.sources, self.targets))
        return {
            "texts": len(self.source_texts),
            "pairs": len(self),
            "source tokens": len(self.sources.values) - len(self),
            "target tokens": len(self.targets.values) - len(self),
            **({"unknown tokens": unknown} if unknown else {}),
        }

    def references(self) -> list[list[str]]:
        """Return the translations of every text."""
        found: list[list[str]] = [[] for _ in range(len(self.source_texts))]
        for owner, text in zip(self.owners.tolist(), read_bytes(self.target_texts), strict=True):
            found[owner].append(text)
        return found

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("sources", "targets", "source_texts", "target_texts"):
            getattr(self, name).save(folder, name)
        np.save(folder / "owners.npy", self.owners)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        sources, targets, source_texts, target_texts = (
            Ragged.load(folder, name) for name in ("sources", "targets", "source_texts", "target_texts")
        )
        return cls(sources, targets, load_array(folder / "owners.npy"), source_texts, target_texts)


def learnable(data: PairData, config: TranslationConfig) -> np.ndarray:
    """Return which pairs are learnt from, (pairs,) bool: those that are neither too long nor too unlike in length."""
    source, target = data.sources.lengths - 1, data.targets.lengths - 1
    longer, shorter = np.maximum(source, target), np.minimum(source, target)
    return (longer <= config.max_length) & (longer <= config.max_ratio * shorter + 10)
