"""The tags of a tagger: as a file writes them, as the network numbers them, and which may follow which."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.data.schemes import OUTSIDE, Span, detect_scheme, read_spans, split_tag, write_tags
from rnnkit.data.tagged import TaggedSentence
from rnnkit.errors import ConfigError, DataError
from rnnkit.tasks.saved import reading

_log = logging.getLogger("rnnkit.tasks")

SHOWN = 20
MISSING = -1  # the number of a tag that training has not seen
MOST_MISSING = 0.02  # of the words; beyond it the file is of another tag set
INNER = "bioes"  # the scheme the network learns: a path of tags then says exactly where each entity ends


@dataclass(frozen=True)
class TagSet:
    """Tags by number.

    Attributes:
        names: Those the network scores, of scheme bioes where they mark entities.
        counts: Words of training that have each.
        scheme: How the files write entities; None where every tag stands for itself.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    scheme: str | None

    @classmethod
    def learn(cls, sentences: Sequence[TaggedSentence], *, scheme: str) -> tuple[Self, list[str]]:
        """Collect the tags of training sentences.

        Args:
            sentences: At least one.
            scheme: One of SCHEMES, "plain", or "auto" to find it out.

        Returns:
            The tags, and what a person should know of the scheme.

        Raises:
            ConfigError: If a scheme is asked for that the tags are not of.
            DataError: If there are fewer than 2 tags.
        """
        found = detect_scheme([one.tags for one in sentences])
        if scheme not in ("auto", "plain") and found.scheme is None:
            shown = ", ".join(sorted({tag for one in sentences for tag in one.tags})[:SHOWN])
            raise ConfigError(f"scheme is {scheme!r}, and the tags are {shown}; expected B-, I- and the like, or auto")
        chosen = None if scheme == "plain" else found.scheme if scheme == "auto" else scheme
        counts: Counter[str] = Counter()
        for one in sentences:
            counts.update(inner_tags(one.tags, chosen))
        if chosen is None:
            names = sorted(counts)
        else:
            types = sorted({split_tag(tag)[1] for tag in counts} - {""})
            names = [OUTSIDE, *(tag for kind in types for tag in _tags_of(kind))]
        if len(names) < 2:
            where = sentences[0].source
            raise DataError(f"{where}: the only tag is {', '.join(names)!r}; expected 2 or more to tell apart.")
        notes = []
        if found.first_repair is not None and chosen is not None:
            sentence, word = found.first_repair
            notes.append(
                f"{found.repairs:,} of the tags do not fit the scheme {found.scheme}, the first is "
                f"{sentences[sentence].tags[word]} of {sentences[sentence].words[word]!r} in the sentence at "
                f"{sentences[sentence].place}: read as conlleval does"
            )
        return cls(tuple(names), tuple(counts[name] for name in names), chosen), notes

    def __len__(self) -> int:
        return len(self.names)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of entity; none where tags mark none."""
        if self.scheme is None:
            return ()
        return tuple(dict.fromkeys(split_tag(name)[1] for name in self.names if name != OUTSIDE))

    @property
    def note(self) -> str:
        """Name the most frequent types or tags for a person, with their counts."""
        if self.scheme is None:
            counts = dict(zip(self.names, self.counts, strict=True))
            title = f"tags: {len(self)}"
        else:
            counts = dict.fromkeys(self.types, 0)
            for name, count in zip(self.names, self.counts, strict=True):
                prefix, kind = split_tag(name)
                counts |= {kind: counts[kind] + count} if prefix in "BS" else {}
            title = f"tags of scheme {self.scheme}: {len(counts)} types of entity"
        ordered = sorted(counts.items(), key=lambda one: -one[1])
        shown = ", ".join(f"{name} ({count:,})" for name, count in ordered[:SHOWN])
        return f"{title}: {shown}{f' and {len(ordered) - SHOWN} more' if len(ordered) > SHOWN else ''}"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def encode(self, sentences: Sequence[TaggedSentence]) -> np.ndarray:
        """Turn tags into numbers.

        Args:
            sentences: Tagged.

        Returns:
            (words of all sentences,) int16, MISSING for tags that training has not seen.

        Raises:
            DataError: If there are too many of those, naming one.
        """
        found: list[int] = []
        missing: Counter[str] = Counter()
        first = ""
        for one in sentences:
            tags = inner_tags(one.tags, self.scheme)
            unknown = [tag for tag in tags if tag not in self._numbers]
            if unknown:
                missing.update(unknown)
                first = first or f"{one.place}: the tag {unknown[0]!r}"
            found += [self._numbers.get(tag, MISSING) for tag in tags]
        if missing.total() > MOST_MISSING * len(found):
            raise DataError(
                f"{first} is not known, nor are those of {missing.total():,} of {len(found):,} words; the model knows "
                f"{', '.join(self.types or self.names[:SHOWN])}. Name the --label-column, or train with such tags."
            )
        if missing:
            _log.warning("%s is not known, as are %d words' in all: counted as mistakes", first, missing.total())
        return np.array(found, dtype=np.int16)

    def allowed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Say what proper sequences of tags are.

        Returns:
            Which a sentence may begin with, (tags,) bool; which (column) may follow which (row), (tags, tags); and
            which it may end with, (tags,).
        """
        if self.scheme is None:
            return np.ones(len(self), bool), np.ones((len(self), len(self)), bool), np.ones(len(self), bool)
        parts = [split_tag(name) for name in self.names]
        starts, ends = ([prefix in kinds for prefix, _ in parts] for kinds in ("OBS", "OES"))
        follows = [[_follows(before, after) for after in parts] for before in parts]
        return np.array(starts), np.array(follows), np.array(ends)

    def spans(self, numbers: Sequence[int]) -> list[Span]:
        """Read the entities of one sentence; none where tags mark none."""
        return [] if self.scheme is None else read_spans([self.names[number] for number in numbers])

    def write(self, numbers: Sequence[int]) -> list[str]:
        """Write the tags of one sentence as its files do."""
        return [self.write_one(number, before) for before, number in zip((None, *numbers), numbers, strict=False)]

    def write_one(self, number: int, before: int | None) -> str:
        """Write a word's tag as files do, given the number of the one before it, if there is one."""
        name = self.names[number]
        prefix, kind = split_tag(name)
        if self.scheme is None or prefix == OUTSIDE:
            return name
        beginning = "B"
        if self.scheme == "iob1" and (before is None or split_tag(self.names[before])[1] != kind):
            beginning = "I"
        written = {"bilou": {"E": "L", "S": "U"}, "bioes": {}}.get(
            self.scheme, {"B": beginning, "E": "I", "S": beginning}
        )
        return written.get(prefix, prefix) + name[1:]

    def costs(self) -> np.ndarray:
        """Return (tags,) what mistaking each costs, so that rare ones count as much: the logarithm of its weight."""
        counts = np.maximum(np.array(self.counts, dtype=np.float32), 1)
        return np.log(counts.sum() / (len(counts) * counts))

    def save(self, folder: Path) -> None:
        """Write tags.json."""
        (folder / "tags.json").write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The tags.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = folder / "tags.json"
        with reading(path):
            saved = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(saved["names"]), tuple(saved["counts"]), saved["scheme"])


def inner_tags(tags: Sequence[str], scheme: str | None) -> list[str]:
    """Write a sentence's tags as the network learns them."""
    return list(tags) if scheme is None else write_tags(read_spans(tags), len(tags), INNER)


def _tags_of(kind: str) -> list[str]:
    return sorted({tag for size in (1, 3) for tag in write_tags([Span(kind, 0, size)], size, INNER)})


def _follows(before: tuple[str, str], after: tuple[str, str]) -> bool:
    if before[0] in "OES":
        return after[0] in "OBS"
    return after[0] in "IE" and before[1] == after[1]
