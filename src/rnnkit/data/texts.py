"""Many texts as arrays: their tokens, or their bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnkit.data.ragged import Ragged
from rnnkit.data.tokens import DOCUMENT, Vocabulary


def encode_texts(vocabulary: Vocabulary, texts: Sequence[str]) -> Ragged:
    """Turn texts into tokens, DOCUMENT before each."""
    tokens, lengths = vocabulary.encoder()(texts)
    ends = np.cumsum(lengths)
    return Ragged(np.insert(tokens, ends - lengths, DOCUMENT), ends + np.arange(1, len(texts) + 1))


def keep_bytes(texts: Sequence[str]) -> Ragged:
    """Put texts end to end as bytes."""
    parts = [np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8) for text in texts]
    return Ragged.join(parts, like=np.empty(0, dtype=np.uint8))


def read_bytes(kept: Ragged) -> list[str]:
    """Return the texts that `keep_bytes` put end to end."""
    return [one.tobytes().decode("utf-8", "surrogatepass") for one in kept]
