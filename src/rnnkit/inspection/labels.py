"""What labelled examples hold: balance, lengths, copies, contradictions, what training and validation share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

EXAMPLES = 5  # of each finding shown
MOST_LABELS = 30  # listed
SHOWN_CHARACTERS = 60
PERCENTILES = (50, 90, 99)
FEW_EXAMPLES = 10  # of a label: less can hardly be learnt, and not be measured
LARGE_FACTOR = 10  # between the most and the least frequent label
LONG_FACTOR = 20  # between the longest example and the median


@dataclass(frozen=True)
class Item:
    """One example as the inspection sees it.

    Attributes:
        content: What makes two examples the same.
        labels: Its labels.
        place: file:line.
        length: Steps: words, samples.
    """

    content: str
    labels: tuple[str, ...]
    place: str
    length: int


@dataclass(frozen=True)
class LabelInspection:
    """All that `inspect_labels` found.

    Attributes:
        sizes: Examples of each part ("training", "validation").
        totals: Of each part, what the labels' shares are shares of.
        labels: Label to its count in each part.
        lengths: Percentile to length, of all parts.
        longest: Length of the longest.
        longest_at: Its place.
        unit: What a length counts.
        copies: How many examples repeat an earlier one of their part.
        copied: Some of them, each with the earlier one's place.
        conflicts: Contents that stand with different labels: the content, and its labels with places.
        leaks: Examples of validation that stand in training too, each with its place there.
        leaked: How many there are.
        bad: Rows left out, with reasons.
        notes: What reading said.
        warnings: What may spoil the training.
        recommendations: What to do.
    """

    sizes: dict[str, int]
    totals: dict[str, int]
    labels: dict[str, dict[str, int]]
    lengths: dict[int, int]
    longest: int
    longest_at: str
    unit: str
    copies: int
    copied: list[tuple[str, str]]
    conflicts: list[tuple[str, list[str]]]
    leaks: list[tuple[str, str]]
    leaked: int
    bad: list[tuple[str, str]]
    notes: list[str]
    warnings: list[str]
    recommendations: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        return asdict(self)

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return titled tables of names and values, for a person."""
        lengths = ", ".join(f"{length:,} (p{percentile})" for percentile, length in self.lengths.items())
        shown = list(self.labels.items())[:MOST_LABELS]
        more = f", the most frequent {MOST_LABELS}" if len(self.labels) > MOST_LABELS else ""
        return [
            ("Files", [(str(number), note) for number, note in enumerate(self.notes, start=1)]),
            ("Examples", [(part, f"{count:,}") for part, count in self.sizes.items()]),
            (f"Labels: {len(self.labels)}{more}", [(name, self._balance(counts)) for name, counts in shown]),
            (
                f"Length in {self.unit}",
                [("half, most, nearly all", lengths), ("longest", f"{self.longest:,}, {self.longest_at}")],
            ),
            (f"Copies: {self.copies:,} repeat an earlier one", [(one, f"is {other}") for one, other in self.copied]),
            ("The same with different labels", [(text, "; ".join(places)) for text, places in self.conflicts]),
            (f"In validation and in training: {self.leaked:,}", [(one, f"is {other}") for one, other in self.leaks]),
            ("Rows left out", self.bad),
            ("Warnings", [(str(number), text) for number, text in enumerate(self.warnings, start=1)]),
            ("To do", [(str(number), text) for number, text in enumerate(self.recommendations, start=1)]),
        ]

    def _balance(self, counts: Mapping[str, int]) -> str:
        return ", ".join(
            f"{counts.get(part, 0):,} ({counts.get(part, 0) / max(total, 1):.1%}) in {part}"
            for part, total in self.totals.items()
        )


def inspect_labels(
    parts: Mapping[str, Sequence[Item]],
    *,
    unit: str,
    of_all_labels: bool = False,
    notes: Sequence[str] = (),
    bad: Sequence[tuple[str, int, str]] = (),
) -> LabelInspection:
    """Look labelled examples over before training on them.

    Args:
        parts: "training", and "validation" where there is some.
        unit: What a length counts, in the plural.
        of_all_labels: Whether the shares of labels are of all that are given, not of the examples.
        notes: What reading the files said.
        bad: File, line and reason of each row left out.

    Returns:
        What is in them, what is wrong with them, and what to do.
    """
    everything = [item for items in parts.values() for item in items]
    counts = {part: Counter(label for item in items for label in item.labels) for part, items in parts.items()}
    total = sum(counts.values(), Counter[str]())
    labels = {
        name: {part: found[name] for part, found in counts.items()}
        for name, _ in sorted(total.items(), key=lambda one: (-one[1], one[0]))
    }
    lengths = np.array([item.length for item in everything])
    longest = everything[int(lengths.argmax())]
    copied = [pair for items in parts.values() for pair in _copies(items)]
    conflicts = _conflicts(everything)
    leaks = _leaks(parts.get("training", ()), parts.get("validation", ()))
    percentiles = np.percentile(lengths, PERCENTILES).astype(int).tolist()
    findings = {"copied": len(copied), "conflicts": len(conflicts), "leaked": len(leaks), "bad": len(bad)}
    sizes = {part: len(items) for part, items in parts.items()}
    return LabelInspection(
        sizes=sizes,
        totals={part: found.total() for part, found in counts.items()} if of_all_labels else sizes,
        labels=labels,
        lengths=dict(zip(PERCENTILES, percentiles, strict=True)),
        longest=longest.length,
        longest_at=longest.place,
        unit=unit,
        copies=len(copied),
        copied=copied[:EXAMPLES],
        conflicts=conflicts[:EXAMPLES],
        leaks=leaks[:EXAMPLES],
        leaked=len(leaks),
        bad=[(f"{file}:{line}", reason) for file, line, reason in bad[:EXAMPLES]],
        notes=list(notes),
        warnings=[*_label_warnings(labels), *_warnings(findings, longest, percentiles[0], unit)],
        recommendations=_recommendations(labels, findings),
    )


def _copies(items: Sequence[Item]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    return [
        (item.place, first[item.content]) for item in items if first.setdefault(item.content, item.place) != item.place
    ]


def _conflicts(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    groups: dict[str, dict[tuple[str, ...], str]] = {}
    for item in items:
        groups.setdefault(item.content, {}).setdefault(tuple(sorted(item.labels)), item.place)
    return [
        (_beginning(content), [f"{'|'.join(labels) or 'none'} at {place}" for labels, place in places.items()])
        for content, places in groups.items()
        if len(places) > 1
    ]


def _leaks(training: Sequence[Item], validation: Sequence[Item]) -> list[tuple[str, str]]:
    known = {item.content: item.place for item in reversed(training)}
    return [(item.place, known[item.content]) for item in validation if item.content in known]


def _beginning(content: str) -> str:
    return content if len(content) <= SHOWN_CHARACTERS else f"{content[: SHOWN_CHARACTERS - 1]}…"


def _label_warnings(labels: Mapping[str, Mapping[str, int]]) -> list[str]:
    warnings = []
    training = {name: counts.get("training", 0) for name, counts in labels.items()}
    rare = [name for name, count in training.items() if 0 < count < FEW_EXAMPLES]
    if rare:
        shown = ", ".join(f"{name} ({training[name]})" for name in rare[:EXAMPLES])
        warnings.append(f"{len(rare)} labels have fewer than {FEW_EXAMPLES} examples: {shown}")
    unseen = [name for name, count in training.items() if not count]
    if unseen:
        warnings.append(f"labels that stand in validation alone: {', '.join(unseen[:EXAMPLES])}")
    if len(labels) == 1:
        warnings.append(f"the only label is {next(iter(labels))!r}: there is nothing to tell apart")
    counted = [count for count in training.values() if count]
    if counted and max(counted) > LARGE_FACTOR * min(counted):
        warnings.append(
            f"the most frequent label has {max(counted) / min(counted):.0f} times the examples of the rarest"
        )
    return warnings


def _warnings(found: Mapping[str, int], longest: Item, median: int, unit: str) -> list[str]:
    warnings = []
    if found["conflicts"]:
        warnings.append(f"{found['conflicts']:,} contents stand with different labels")
    if found["copied"]:
        warnings.append(f"{found['copied']:,} examples repeat an earlier one")
    if found["leaked"]:
        warnings.append(
            f"{found['leaked']:,} examples of validation stand in training: the measured quality is too good"
        )
    if found["bad"]:
        warnings.append(f"{found['bad']:,} rows are left out")
    if longest.length > LONG_FACTOR * max(median, 1):
        warnings.append(f"{longest.place} has {longest.length:,} {unit}, half of the examples up to {median:,}")
    return warnings


def _recommendations(labels: Mapping[str, Mapping[str, int]], found: Mapping[str, int]) -> list[str]:
    todo = []
    if found["bad"]:
        todo.append("Mend the rows left out.")
    if found["conflicts"]:
        todo.append("Decide on one label for the contents that have several.")
    if found["leaked"]:
        todo.append("Remove from one side what stands in training and validation.")
    training = [count for counts in labels.values() if (count := counts.get("training", 0))]
    if training and max(training) > LARGE_FACTOR * min(training):
        todo.append("Watch macro F1 rather than accuracy; --class-weights balanced makes rare labels count.")
    return todo
