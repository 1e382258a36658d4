"""The labels of a classifier: their names, how often they occur, their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from rnnkit.data.holdout import split_examples
from rnnkit.errors import DataError
from rnnkit.tasks.saved import reading

SHOWN_LABELS = 20


@dataclass(frozen=True)
class Labels:
    """Names in order, their counts in training, and whether a sequence may have any number of them."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    multi_label: bool

    @classmethod
    def learn(cls, given: Sequence[tuple[str, ...]], *, where: str) -> Self:
        """Collect the labels of training examples.

        Args:
            given: Labels of each example; the task is multi-label if one has none, or several.
            where: The files, for messages.

        Returns:
            The labels, in the order of their names, numbers as numbers.

        Raises:
            DataError: If there are fewer than 2.
        """
        multi_label = any(len(labels) != 1 for labels in given)
        counts = Counter(label for labels in given for label in labels)
        if len(counts) < 2 - multi_label:
            found = ", ".join(map(repr, counts)) or "none"
            raise DataError(f"{where}: the only label is {found}; expected 2 or more to tell apart.")
        names = sorted(counts, key=_natural)
        return cls(tuple(names), tuple(counts[name] for name in names), multi_label)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def note(self) -> str:
        """Name the most frequent labels for a person, with their counts."""
        counts = sorted(zip(self.counts, self.names, strict=True), key=lambda one: -one[0])
        shown = ", ".join(f"{name} ({count:,})" for count, name in counts[:SHOWN_LABELS])
        more = f" and {len(counts) - SHOWN_LABELS} more" if len(counts) > SHOWN_LABELS else ""
        several = ", any number of them together" if self.multi_label else ""
        return f"labels: {len(counts)}{several}: {shown}{more}"

    def encode(self, given: Iterable[tuple[tuple[str, ...], str]]) -> np.ndarray:
        """Turn labels into targets.

        Args:
            given: Labels of each example, and its place (file:line).

        Returns:
            (examples,) int64 label numbers; multi-label: (examples, labels) bool.

        Raises:
            DataError: If a label was not in the training data, naming the place.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        rows = []
        for labels, place in given:
            for label in labels:
                if label not in numbers:
                    raise DataError(
                        f"{place}: the label is {label!r}; the model knows {', '.join(self.names[:20])}"
                        f"{', ...' if len(self) > 20 else ''}. Mend the label, or train with it."
                    )
            if not self.multi_label and len(labels) != 1:
                raise DataError(f"{place}: there are {len(labels)} labels; the model gives one to each.")
            rows.append([numbers[label] for label in labels])
        if not self.multi_label:
            return np.array([row[0] for row in rows], dtype=np.int64)
        targets = np.zeros((len(rows), len(self)), dtype=bool)
        for target, row in zip(targets, rows, strict=True):
            target[row] = True
        return targets

    def weights(self) -> np.ndarray:
        """Return (labels,) weights that make every label count as much: examples / (labels x count)."""
        counts = np.maximum(np.array(self.counts, dtype=np.float32), 1)
        return counts.sum() / (len(counts) * counts)

    def save(self, folder: Path) -> None:
        """Write labels.json."""
        (folder / "labels.json").write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The labels.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = folder / "labels.json"
        with reading(path):
            saved = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(saved["names"]), tuple(saved["counts"]), bool(saved["multi_label"]))


def _natural(name: str) -> tuple[bool, float, str]:
    """Order numbers by size, before words."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


class Example(Protocol):
    """What an example must have to be kept for validation."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def source(self) -> str: ...


E = TypeVar("E", bound=Example)


def split_by_label(
    examples: Sequence[E], keys: Sequence[bytes], *, valid_share: float, unit: str
) -> tuple[tuple[E, ...], tuple[E, ...], str]:
    """Keep a share of every label's examples for validation, as `split_examples` does."""
    labels, where = [one.labels for one in examples], examples[0].source
    return split_examples(examples, keys, valid_share=valid_share, unit=unit, where=where, labels=labels)
