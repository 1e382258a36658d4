"""Tagged sentences as arrays: what the network sees of each distinct word, and which words follow one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged, load_array
from rnnkit.tasks.tagging.features import FEATURES, WordFeatures, WordNumbers
from rnnkit.tasks.tagging.tags import MISSING


class WordBatch(NamedTuple):
    """WordNumbers as tensors."""

    ids: Tensor
    characters: Tensor
    lengths: Tensor
    features: Tensor

    @classmethod
    def place(cls, words: WordNumbers, device: torch.device) -> Self:
        """Put words on a device."""
        return cls(*(torch.from_numpy(part).to(device) for part in words))


class TagBatch(NamedTuple):
    """Padded sentences."""

    inputs: Tensor
    """(batch, time) places in `words`."""
    words: WordBatch
    """Their distinct words."""
    lengths: Tensor
    """(batch,)"""
    targets: Tensor
    """(batch, time) tag numbers, MISSING where training has not seen the tag."""
    context: Tensor | None
    """(batch, time, size) of a language model after each word, where there is one."""


@dataclass(frozen=True)
class TagData:
    """Encoded sentences.

    Attributes:
        words: Distinct words, UTF-8.
        table: What the network sees of them: number, length, features, then characters.
        tokens: Sentences of places in `words`.
        targets: (tokens,) int16 tag numbers.
        context: (tokens, size) float16 of a language model after each word, where there is one; may be memory-mapped.
    """

    words: Ragged
    table: Ragged
    tokens: Ragged
    targets: np.ndarray
    context: np.ndarray | None

    @classmethod
    def encode(
        cls, features: WordFeatures, sentences: Sequence[Sequence[str]], targets: np.ndarray, context: np.ndarray | None
    ) -> Self:
        """Encode sentences of words."""
        numbers: dict[str, int] = {}
        tokens = [
            np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int32) for words in sentences
        ]
        seen = features.encode(list(numbers))
        rows = [
            np.concatenate([[id, length], found, spelt[: int(length)]]).astype(np.int32)
            for id, spelt, length, found in zip(*seen, strict=True)
        ]
        empty = np.empty(0, dtype=np.int32)
        spelling = (np.frombuffer(word.encode("utf-8", "surrogatepass"), dtype=np.uint8) for word in numbers)
        return cls(
            Ragged.join(spelling, like=np.empty(0, dtype=np.uint8)),
            Ragged.join(rows, like=empty),
            Ragged.join(tokens, like=empty),
            targets,
            context,
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def sizes(self) -> dict[str, int]:
        """Count sentences, words and unknown words, for a report."""
        numbers = np.array([row[0] for row in self._rows(range(len(self.table)))], dtype=np.int64)
        unknown = int((numbers[self.tokens.values] == 0).sum())
        missing = int((self.targets == MISSING).sum())
        return {
            "sentences": len(self),
            "words": len(self.tokens.values),
            "words of the longest": int(self.tokens.lengths.max(initial=0)),
            **({"unknown words": unknown} if unknown else {}),
            **({"unknown tags": missing} if missing else {}),
        }

    def read(self) -> list[str]:
        """Return the distinct words."""
        return [self.words[index].tobytes().decode("utf-8", "surrogatepass") for index in range(len(self.words))]

    def tags(self, index: int) -> np.ndarray:
        """Return the tag numbers of one sentence."""
        return self.targets[self.tokens.ends[index] - len(self.tokens[index]) : self.tokens.ends[index]]

    def unknown(self, index: int) -> np.ndarray:
        """Return which words of one sentence training has not seen, (words,) bool."""
        return np.array([self.table[int(word)][0] == 0 for word in self.tokens[index]], dtype=bool)

    def _rows(self, places: Iterable[int]) -> Iterable[np.ndarray]:
        return (self.table[int(place)] for place in places)

    def batch(self, indices: np.ndarray, *, device: torch.device) -> TagBatch:
        """Lay some sentences out."""
        rows, lengths = self.tokens.padded(indices)
        distinct, inputs = np.unique(rows, return_inverse=True)
        targets = np.full(rows.shape, MISSING, dtype=np.int64)
        for target, index in zip(targets, indices, strict=True):
            tags = self.tags(int(index))
            target[: len(tags)] = tags
        words = unpack_words(self.table.padded(distinct)[0])
        parts = (torch.from_numpy(part).to(device) for part in (inputs.reshape(rows.shape), lengths, targets))
        places, sizes, numbers = parts
        context = None if self.context is None else self._context(self.context, indices, rows.shape[1]).to(device)
        return TagBatch(places, WordBatch.place(words, device), sizes, numbers, context)

    def _context(self, context: np.ndarray, indices: np.ndarray, time: int) -> Tensor:
        """Lay out what the language model says of some sentences."""
        padded = np.zeros((len(indices), time, context.shape[1]), dtype=np.float32)
        for row, index in zip(padded, indices.tolist(), strict=True):
            end, length = self.tokens.ends[index], len(self.tokens[index])
            row[:length] = context[end - length : end]
        return torch.from_numpy(padded)

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("words", "table", "tokens"):
            getattr(self, name).save(folder, name)
        np.save(folder / "targets.npy", self.targets)
        if self.context is not None:
            np.save(folder / "context.npy", self.context)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; long arrays stay on disk until they are used."""
        words, table, tokens = (Ragged.load(folder, name) for name in ("words", "table", "tokens"))
        context = folder / "context.npy"
        said = load_array(context, mmap=True) if context.is_file() else None
        return cls(words, table, tokens, load_array(folder / "targets.npy"), said)


def unpack_words(rows: np.ndarray) -> WordNumbers:
    """Take rows of a table, padded, apart."""
    first = 2 + len(FEATURES)
    missing = max(0, first + 1 - rows.shape[1])
    table = np.pad(rows, ((0, 0), (0, missing))).astype(np.int64)
    return WordNumbers(table[:, 0], table[:, first:], table[:, 1], table[:, 2:first])
