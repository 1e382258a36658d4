"""What recordings and their texts hold: rates, lengths, silence, clipping, characters, what validation shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rnnkit.data.recordings import Recording, Recordings
from rnnkit.data.tokens import printable
from rnnkit.errors import DataError

EXAMPLES = 5  # of each finding shown
MOST_CHARACTERS = 60
PERCENTILES = (1, 50, 99)
RARE = 10  # of a character: less can hardly be learnt
BLOCK_SECONDS = 0.02
SILENT = 10 ** (-50 / 20)  # of full scale, root mean square of a block
CLIPPED = 0.999  # of full scale
MOST_CLIPPED, MOST_SILENT = 0.001, 0.6  # shares above which a recording is named
FASTEST = 25.0  # characters a second that people say


@dataclass(frozen=True)
class Sound:
    """What one recording holds.

    Attributes:
        place: file:line.
        seconds: How long it is.
        characters: Of its text.
        silent: Share of it that is silent.
        clipped: Share of samples at full scale.
    """

    place: str
    seconds: float
    characters: int
    silent: float
    clipped: float


@dataclass(frozen=True)
class SpeechInspection:
    """All that `inspect_speech` found.

    Attributes:
        sizes: Recordings of each part ("training", "validation").
        minutes: Of each part.
        formats: How many files have each sample rate and number of channels.
        lengths: Percentile to seconds.
        longest: The longest recordings, with seconds.
        characters: How often each occurs in the texts, the most frequent first.
        words: How many different words there are.
        findings: What may spoil the training, by name, with some places each.
        counts: How often each was found.
        unseen: Characters of validation that training lacks.
        bad: Rows left out, with reasons.
        notes: What reading said.
    """

    sizes: dict[str, int]
    minutes: dict[str, float]
    formats: dict[str, int]
    lengths: dict[int, float]
    longest: list[tuple[str, float]]
    characters: dict[str, int]
    words: int
    findings: dict[str, list[str]]
    counts: dict[str, int]
    unseen: list[str]
    bad: list[tuple[str, str]]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        return asdict(self)

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return titled tables of names and values, for a person."""
        lengths = ", ".join(f"{seconds:.2f} s (p{percentile})" for percentile, seconds in self.lengths.items())
        shown = list(self.characters.items())[:MOST_CHARACTERS]
        spelt = "  ".join(f"{printable(one)} {count:,}" for one, count in shown)
        return [
            ("Files", [(str(number), note) for number, note in enumerate(self.notes, start=1)]),
            (
                "Recordings",
                [(part, f"{count:,}, {self.minutes[part]:.1f} minutes") for part, count in self.sizes.items()],
            ),
            ("Sound", [(f"{count:,} files", kind) for kind, count in self.formats.items()]),
            (
                "Length",
                [
                    ("shortest, half, longest", lengths),
                    *((f"{seconds:.1f} s", place) for place, seconds in self.longest),
                ],
            ),
            (f"Texts: {self.words:,} different words, {len(self.characters)} characters", [("", spelt)]),
            *(
                (
                    f"{name}: {self.counts[name]:,}",
                    [(str(number), place) for number, place in enumerate(places, start=1)],
                )
                for name, places in self.findings.items()
            ),
            ("Characters of validation that training lacks", [(printable(one), repr(one)) for one in self.unseen]),
            ("Rows left out", self.bad),
        ]


def inspect_speech(parts: Mapping[str, Recordings]) -> SpeechInspection:
    """Look recordings and texts over before training on them; all of the sound is read.

    Args:
        parts: "training", and "validation" where there is some.

    Returns:
        What is in them, and what may be wrong with them.
    """
    bad = [row for part in parts.values() for row in part.bad]
    sounds: list[Sound] = []
    for part in parts.values():
        for one in part.examples:
            try:
                sounds.append(_listen(one))
            except DataError as error:
                bad.append((one.source, one.line, str(error)))
    everything = [one for part in parts.values() for one in part.examples]
    files = {path: facts for one in everything for path, facts in zip(one.paths, one.facts, strict=True)}
    formats = Counter(f"{one.sample_rate:,} samples a second, {one.channels} channels" for one in files.values())
    spelt = {name: Counter("".join(one.text for one in part.examples)) for name, part in parts.items()}
    seconds = np.array([one.seconds for one in everything])
    longest = sorted(everything, key=lambda one: -one.seconds)[:EXAMPLES]
    findings = _findings(sounds, parts, spelt["training"])
    return SpeechInspection(
        sizes={name: len(part) for name, part in parts.items()},
        minutes={name: sum(one.seconds for one in part.examples) / 60 for name, part in parts.items()},
        formats=dict(formats.most_common()),
        lengths=dict(zip(PERCENTILES, np.percentile(seconds, PERCENTILES).tolist(), strict=True)),
        longest=[(one.place, one.seconds) for one in longest],
        characters=dict(sum(spelt.values(), Counter[str]()).most_common()),
        words=len({word for one in everything for word in one.text.split()}),
        findings={name: places[:EXAMPLES] for name, places in findings.items()},
        counts={name: len(places) for name, places in findings.items()},
        unseen=sorted(set(spelt.get("validation", ())) - set(spelt["training"])),
        bad=[(f"{file}:{line}", reason) for file, line, reason in bad],
        notes=[note for part in parts.values() for note in part.notes],
    )


def _listen(one: Recording) -> Sound:
    rate = one.facts[0].sample_rate
    samples = one.samples(rate)
    size = max(1, round(BLOCK_SECONDS * rate))
    blocks = np.append(samples, np.zeros(-len(samples) % size, dtype=np.float32)).reshape(-1, size)
    silent = np.sqrt((blocks**2).mean(1)) < SILENT
    clipped = np.abs(samples) >= CLIPPED
    return Sound(one.place, one.seconds, len(one.text), float(silent.mean()), float(clipped.mean()))


def _findings(
    sounds: Sequence[Sound], parts: Mapping[str, Recordings], spelt: Mapping[str, int]
) -> dict[str, list[str]]:
    """Name the recordings and characters that may spoil the training."""
    training = {path for one in parts["training"].examples for path in one.paths}
    shared = [
        one.place
        for name, part in parts.items()
        for one in part.examples
        if name != "training" and any(path in training for path in one.paths)
    ]
    found = {
        "Mostly silent": [f"{one.place} ({one.silent:.0%})" for one in sounds if one.silent > MOST_SILENT],
        "Clipped": [f"{one.place} ({one.clipped:.1%} of the samples)" for one in sounds if one.clipped > MOST_CLIPPED],
        "Too short for their text": [
            f"{one.place} ({one.characters} characters in {one.seconds:.2f} s)"
            for one in sounds
            if one.characters > FASTEST * one.seconds
        ],
        "In validation and in training": shared,
        f"Characters that occur fewer than {RARE} times in training": [
            f"{printable(one)} ({count})" for one, count in spelt.items() if count < RARE
        ],
    }
    return {name: places for name, places in found.items() if places}
