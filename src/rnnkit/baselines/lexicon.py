"""Translation word by word: IBM's first model (Brown et al. 1993), what a translator should beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.baselines.saved import opened

ROUNDS = 5  # of expectation maximisation
MOST_LINKS = 20_000_000  # of a source and a target token, learnt from
LEAST = 1e-6  # of a probability


@dataclass(frozen=True)
class Lexicon:
    """How likely each token is translated by each.

    A sentence begins with a token that stands for what comes from nothing, and in a translation for its end.

    Attributes:
        keys: (links,) source token times `target_size`, plus target token, rising.
        shares: (links,) probability of the target token given the source token.
        target_size: Tokens of the target's vocabulary.
    """

    keys: np.ndarray
    shares: np.ndarray
    target_size: int

    @classmethod
    def fit(cls, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, target_size: int) -> Self:
        """Learn by expectation maximisation, each target token a translation of one source token of its pair.

        Args:
            sources: (tokens,) of each sentence.
            targets: Likewise of its translation.
            target_size: Tokens of the target's vocabulary.

        Returns:
            The lexicon.
        """
        all_keys, owners, count, links = [], [], 0, 0
        for source, target in zip(sources, targets, strict=True):
            all_keys.append((source[None].astype(np.int64) * target_size + target[:, None]).reshape(-1))
            owners.append(count + np.repeat(np.arange(len(target)), len(source)))  # (target x source)
            count, links = count + len(target), links + len(source) * len(target)
            if links > MOST_LINKS:
                break
        keys, links_of = np.unique(np.concatenate(all_keys), return_inverse=True)
        owner = np.concatenate(owners)
        shares = np.ones(len(keys))
        for _ in range(ROUNDS):
            likely = shares[links_of]
            likely /= np.bincount(owner, weights=likely, minlength=count)[owner]
            counts = np.bincount(links_of, weights=likely, minlength=len(keys))
            totals = np.bincount(keys // target_size, weights=counts)
            shares = counts / totals[keys // target_size]
        return cls(keys, shares, target_size)

    def nats(self, source: np.ndarray, target: np.ndarray) -> float:
        """Sum -ln p over the tokens of a translation, (tokens,) each."""
        keys = source[None].astype(np.int64) * self.target_size + target[:, None]
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        shares = np.where(self.keys[places] == keys, self.shares[places], 0.0)
        return float(-np.log(np.maximum(shares.mean(1), LEAST)).sum())

    def translate(self, source: np.ndarray) -> np.ndarray:
        """Say the likeliest translation of each token after the first, (tokens,); of one never seen, nothing."""
        found, nothing = [], int(source[0])
        for token in source[1:].astype(np.int64).tolist():
            own = np.array([token * self.target_size, (token + 1) * self.target_size])
            first, last = np.searchsorted(self.keys, own)
            shares = np.where(self.keys[first:last] % self.target_size == nothing, 0.0, self.shares[first:last])
            if shares.any():
                found.append(self.keys[first + int(shares.argmax())] % self.target_size)
        return np.array(found, dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write lexicon.npz."""
        np.savez(folder / "lexicon.npz", keys=self.keys, shares=self.shares, target_size=self.target_size)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The lexicon.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        with opened(folder / "lexicon.npz") as saved:
            return cls(saved["keys"], saved["shares"], int(saved["target_size"]))
