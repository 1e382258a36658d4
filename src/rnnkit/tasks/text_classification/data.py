"""Labelled texts as tokens, with the texts themselves for the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from rnnkit.data.ragged import Ragged, load_array
from rnnkit.data.texts import read_bytes
from rnnkit.data.tokens import UNKNOWN
from rnnkit.tasks.classification import LabelledSequences


@dataclass(frozen=True)
class TextData(LabelledSequences):
    """Tokens of texts; every text begins with DOCUMENT, as a language model's documents do."""

    names: ClassVar[tuple[str, str]] = ("texts", "tokens")

    texts: Ragged
    """UTF-8 bytes."""

    def read(self) -> list[str]:
        """Return the texts."""
        return read_bytes(self.texts)

    def sizes(self) -> dict[str, int]:
        """Count texts, tokens and unknown tokens, for a report."""
        unknown = int(np.count_nonzero(self.steps.values == UNKNOWN))
        return {**super().sizes(), **({"unknown tokens": unknown} if unknown else {})}

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder."""
        super().save(folder)
        self.texts.save(folder, "texts")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        texts = Ragged.load(folder, "texts")
        return cls(Ragged.load(folder, "steps"), load_array(folder / "targets.npy"), texts)
