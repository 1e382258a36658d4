"""Pairs laid out for training and scoring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged
from rnnkit.data.subword_dropout import DroppedMerges
from rnnkit.data.subwords import BPEVocabulary
from rnnkit.data.texts import read_bytes
from rnnkit.data.tokens import DOCUMENT, Vocabulary
from rnnkit.layers.softmax import IGNORED
from rnnkit.tasks.translation.config import TranslationConfig
from rnnkit.tasks.translation.data import PairBatch, PairData
from rnnkit.tasks.translation.text import normalise


def lay_out(sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> PairBatch:
    """Pad pairs.

    Args:
        sources: (tokens,) of each, DOCUMENT before them.
        targets: Likewise.

    Returns:
        The batch; the target after a translation's last token is DOCUMENT.
    """
    source, lengths = padded(sources)
    inputs, counts = padded(targets)
    wanted = torch.full_like(inputs, IGNORED)
    wanted[:, :-1] = inputs[:, 1:]
    steps = torch.arange(inputs.shape[1])
    wanted[steps >= counts[:, None]] = IGNORED
    wanted[torch.arange(len(counts)), counts - 1] = DOCUMENT
    return PairBatch(source, lengths, inputs, wanted)


def padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad sequences of tokens: (batch, time) int64 and (batch,) lengths."""
    laid, lengths = Ragged.join(rows, like=np.empty(0, dtype=np.int32)).padded(range(len(rows)))
    return torch.from_numpy(laid.astype(np.int64)), torch.from_numpy(lengths)


class TrainingPairs:
    """Makes training batches of some pairs, their words cut anew each time where merges are dropped.

    Args:
        data: The pairs.
        kept: (kept,) which of them.
        vocabularies: Of the source and of the target.
        config: Of the translator.
        seed: Of the cuts.
    """

    def __init__(
        self,
        data: PairData,
        kept: np.ndarray,
        vocabularies: tuple[Vocabulary, Vocabulary],
        config: TranslationConfig,
        *,
        seed: int,
    ) -> None:
        self.data, self.kept = data, kept
        self.cuts: list[DroppedMerges] = []
        if config.subword_dropout and config.vocabulary == BPEVocabulary.kind:
            for vocabulary, texts in zip(vocabularies, (data.source_texts, data.target_texts), strict=True):
                assert isinstance(vocabulary, BPEVocabulary)
                prepared = [normalise(text, config) for text in read_bytes(texts)]
                self.cuts.append(DroppedMerges(vocabulary, prepared, share=config.subword_dropout, seed=seed))

    def __call__(self, indices: np.ndarray) -> PairBatch:
        """Lay some of the kept pairs out."""
        pairs = self.kept[indices]
        if not self.cuts:
            return lay_out(*([side[index] for index in pairs] for side in (self.data.sources, self.data.targets)))
        sides = (self.cuts[0].draw(self.data.owners[pairs]), self.cuts[1].draw(pairs))
        return lay_out(*([np.append(np.int32(DOCUMENT), one) for one in side] for side in sides))
