"""Files of word vectors, as fastText and GloVe write them: a word and its numbers a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from rnnkit.data.readers import read_text
from rnnkit.errors import ConfigError, DataError

_log = logging.getLogger("rnnkit.data")

LEAST_FIELDS = 2  # of a line: a word and a number


def read_vectors(
    path: str | Path, numbers: Mapping[str, int], size: int, *, change: Callable[[str], str] = str
) -> tuple[np.ndarray, np.ndarray]:
    """Read the vectors of some words; of a word that stands there twice the first.

    Args:
        path: Text: a word and its numbers a line; a first line of two numbers says how many there are.
        numbers: The words and their ids.
        size: Numbers of a vector.
        change: Makes one of `numbers` of a word of the file.

    Returns:
        (found,) ids and (found, size) float32 vectors.

    Raises:
        ConfigError: If the vectors have another size.
        DataError: If a line cannot be read, naming it.
    """
    found: dict[int, np.ndarray] = {}
    for place, fields in _rows(path):
        if len(fields) - 1 != size:
            raise ConfigError(
                f"{place}: the vector has {len(fields) - 1} numbers and embedding_size is {size}; "
                f"expected the same: --embedding-size {len(fields) - 1}"
            )
        id = numbers.get(change(fields[0]))
        if id is None or id in found:
            continue
        try:
            vector = np.array(fields[1:], dtype=np.float32)
        except ValueError as error:
            raise DataError(f"{place}: {error}; expected {size} numbers after the word.") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{place}: the vector of {fields[0]!r} is not finite; expected numbers.")
        found[id] = vector
    if not found:
        raise DataError(f"{path}: it has a vector for none of the {len(numbers):,} words; expected vectors of words.")
    _log.info("%s has vectors for %s of %s words", path, f"{len(found):,}", f"{len(numbers):,}")
    return np.array(list(found)), np.stack(list(found.values()))


def vector_words(path: str | Path) -> Iterator[str]:
    """Yield the words of a file of vectors, in its order."""
    return (fields[0] for _, fields in _rows(path))


def _rows(path: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the fields of each line that holds a vector."""
    number = 0
    for text in _lines(path):
        number += 1
        fields = text.rstrip().split(" ")
        if number == 1 and len(fields) == LEAST_FIELDS and all(field.isdecimal() for field in fields):
            continue
        if len(fields) < LEAST_FIELDS:
            raise DataError(f"{path}:{number}: this is {text[:40]!r}; expected a word and its numbers.")
        yield f"{path}:{number}", fields


def _lines(path: str | Path) -> Iterator[str]:
    rest = ""
    for block in read_text([path]).documents[0].blocks():
        *lines, rest = (rest + block).split("\n")
        yield from lines
    if rest:
        yield rest
