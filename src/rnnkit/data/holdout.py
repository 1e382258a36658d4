"""Which examples are kept for validation."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import compress
from typing import TypeVar

import numpy as np

from rnnkit.errors import DataError


def divide(keys: Sequence[bytes], labels: Sequence[tuple[str, ...]], *, valid_share: float) -> np.ndarray:
    """Choose validation examples: a share of every label, by chance but always the same ones.

    The order is that of a hash of the content, so that equal examples stay on one side.

    Args:
        keys: Content of each example.
        labels: Of each example.
        valid_share: In (0, 1).

    Returns:
        (examples,) bool, whether each is for validation.
    """
    digests = [blake2b(key, digest_size=8).digest() for key in keys]
    groups: dict[tuple[str, ...], list[bytes]] = {}
    for digest, names in zip(digests, labels, strict=True):
        groups.setdefault(names, []).append(digest)
    limits = {}
    for names, members in groups.items():
        count = min(max(round(valid_share * len(members)), 1), len(members) - 1)
        ordered = sorted(members)
        limits[names] = ordered[count - 1] if count and ordered[count - 1] < ordered[-1] else b""
    return np.array([digest <= limits[names] for digest, names in zip(digests, labels, strict=True)], dtype=bool)


E = TypeVar("E")


def split_examples(
    examples: Sequence[E],
    keys: Sequence[bytes],
    *,
    valid_share: float,
    unit: str,
    where: str,
    labels: Sequence[tuple[str, ...]] | None = None,
) -> tuple[tuple[E, ...], tuple[E, ...], str]:
    """Keep a share of all examples, or of every label's, for validation, as `divide` chooses it.

    Args:
        examples: At least one.
        keys: Content of each.
        valid_share: In (0, 1).
        unit: What an example is called, in the plural.
        where: The file, for a message.
        labels: Of each example, where that share of every label is kept.

    Returns:
        Training examples, validation examples, and the rule in words.

    Raises:
        DataError: If there are too few.
    """
    chosen = divide(keys, [()] * len(keys) if labels is None else labels, valid_share=valid_share)
    train, valid = (tuple(compress(examples, side)) for side in (~chosen, chosen))
    if not valid:
        raise DataError(
            f"{where}: {len(train)} {unit} are too few to keep some for validation; "
            f"expected two different ones{' of a label' if labels else ''}, or a file given with --valid."
        )
    of_all = f"each label's {unit}" if labels else f"the {unit}"
    return train, valid, f"{valid_share:.0%} of {of_all}, {len(valid):,} in all, are kept for validation"
