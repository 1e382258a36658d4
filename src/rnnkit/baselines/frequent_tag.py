"""Every word's most frequent tag: what a tagger should beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.baselines.saved import opened

PRIOR = 0.5  # of a word's tags, so many are supposed to be as those of rare words are


class FrequentTag:
    """Tags by how often training gives each to a word; an unknown word is tagged as those seen once are.

    Args:
        words: Known words.
        counts: (words, tags).
        rare: (tags,) how probable each is for a word that is not known.
    """

    def __init__(self, words: Sequence[str], counts: np.ndarray, rare: np.ndarray) -> None:
        self.words, self.counts, self.rare = words, counts, rare

    @classmethod
    def fit(cls, words: Sequence[str], places: np.ndarray, tags: np.ndarray, *, num_tags: int) -> Self:
        """Count the tags of training words.

        Args:
            words: Distinct.
            places: (tokens,) which word each token is.
            tags: (tokens,) their tag numbers.
            num_tags: How many tags there are.

        Returns:
            The fitted method.
        """
        counts = np.zeros((len(words), num_tags), dtype=np.int32)
        np.add.at(counts, (places, tags), 1)
        once = counts[counts.sum(1) == 1].sum(0) + 1 / num_tags
        return cls(words, counts, once / once.sum())

    def probabilities(self, words: Sequence[str]) -> np.ndarray:
        """Return (words, tags) of distinct words."""
        known = {word: number for number, word in enumerate(self.words)}
        found = np.tile(PRIOR * self.rare, (len(words), 1))
        for number, word in enumerate(words):
            if word in known:
                found[number] += self.counts[known[word]]
        return found / found.sum(1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write tags.npz and words.json."""
        np.savez(folder / "tags.npz", counts=self.counts, rare=self.rare)
        (folder / "words.json").write_text(json.dumps(list(self.words)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The method.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        with opened(folder / "tags.npz") as saved:
            return cls(json.loads((folder / "words.json").read_text()), saved["counts"], saved["rare"])
