"""BPE-dropout: words of training text cut differently each time, so that a model learns what their parts mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from rnnkit.data.ragged import Ragged
from rnnkit.data.subwords import SURROGATE, UNIT, BPEVocabulary
from rnnkit.data.tokens import SPECIAL_PIECES

VARIANTS = 8  # of every word, drawn once; an occurrence takes one of them


class DroppedMerges:
    """Texts whose words are encoded by BPE with some merges left out at random (Provilkov et al. 2020).

    Of every distinct word some encodings are drawn at the beginning, and each occurrence takes one of them.

    Args:
        vocabulary: Learnt.
        texts: To encode.
        share: Of the merges left out, in (0, 1).
        seed: Of the encodings.

    Example:
        >>> vocabulary = BPEVocabulary.build(["low lower lowest"] * 9, size=300, minimum_count=1)
        >>> dropped = DroppedMerges(vocabulary, ["lower low"], share=0.5, seed=1)
        >>> vocabulary.decode(dropped.draw([0])[0])
        'lower low'
    """

    def __init__(self, vocabulary: BPEVocabulary, texts: Sequence[str], *, share: float, seed: int) -> None:
        numbers: dict[str, int] = {}
        like = np.empty(0, dtype=np.int32)
        self.words = Ragged.join(
            (
                np.array(
                    [numbers.setdefault(unit, len(numbers)) for unit in UNIT.findall(SURROGATE.sub("\ufffd", text))],
                    dtype=np.int32,
                )
                for text in texts
            ),
            like=like,
        )
        merge = _Merges(vocabulary, share=share, seed=seed)
        self.variants = Ragged.join((merge(unit) for unit in numbers for _ in range(VARIANTS)), like=like)

    def draw(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Encode some texts by number, by the random numbers of torch: (tokens,) int32 each."""
        found = []
        for index in indices:
            words = self.words[index].astype(np.int64)
            chosen = words * VARIANTS + torch.randint(VARIANTS, (len(words),)).numpy()
            parts = [self.variants[place] for place in chosen.tolist()]
            found.append(np.concatenate([np.empty(0, dtype=np.int32), *parts]))
        return found


class _Merges:
    """Encodes a word with some merges left out."""

    def __init__(self, vocabulary: BPEVocabulary, *, share: float, seed: int) -> None:
        model = vocabulary.tokenizer["model"]
        merges = [tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in model["merges"]]
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.ids, self.split = model["vocab"], vocabulary.split
        self.share, self.generator = share, np.random.default_rng(seed)

    def __call__(self, unit: str) -> np.ndarray:
        pieces = [piece for part in self.split(unit) for piece in self._merged(list(part))]
        return np.array([self.ids[piece] for piece in pieces], dtype=np.int32) + np.int32(len(SPECIAL_PIECES))

    def _merged(self, pieces: list[str]) -> list[str]:
        """Merge the pair of the lowest rank, of those not left out this time, until none is there."""
        while len(pieces) > 1:
            kept = self.generator.random(len(pieces) - 1) >= self.share
            known = [self.ranks.get(pair) for pair in pairwise(pieces)]
            found = [(rank, place) for place, rank in enumerate(known) if rank is not None and kept[place]]
            if not found:
                break
            _, place = min(found)
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        return pieces
