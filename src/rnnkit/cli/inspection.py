"""`rnnkit inspect`: what is in a user's files."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cyclopts import App
from rich.markup import escape

from rnnkit.cli.options import AS_TABLES, Common
from rnnkit.cli.output import print_json, print_pairs
from rnnkit.data.examples import Columns, LabelledTexts, read_labelled_texts
from rnnkit.data.readers import read_text
from rnnkit.data.recordings import RecordingColumns, read_recordings
from rnnkit.data.series import SeriesColumns, SeriesSet, read_series
from rnnkit.data.tagged import TagColumns, read_tagged
from rnnkit.inspection import (
    Item,
    LabelInspection,
    SpeechInspection,
    TextInspection,
    inspect_labels,
    inspect_speech,
    inspect_text,
    scheme_of,
    tag_items,
    tag_notes,
)

app = App(name="inspect", help="Say what is in your files before training.", help_format="plaintext")


@app.command(name=("language-model", "lm"))
def language_model(data: list[Path], /, *, document_separator: str | None = None, common: Common = AS_TABLES) -> None:
    """Say what is in a text: encoding, size, symbols, repeated lines, and a vocabulary that suits it.

    Args:
        data: Text files or folders.
        document_separator: Text that stands between documents in a file.
        common: How to report.
    """
    found = inspect_text(read_text(data, document_separator=document_separator))
    _show("language-model", data, found, common)


@app.command(name=("text-classification", "sentiment"))
def text_classification(
    data: list[Path],
    /,
    *,
    valid: list[Path] | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    delimiter: str | None = None,
    header: Literal["auto", "present", "absent"] = "auto",
    label_separator: str | None = None,
    common: Common = AS_TABLES,
) -> None:
    """Say what is in labelled texts: columns, labels, lengths, copies, contradictions, and what splits share.

    Args:
        data: Files or folders to train on.
        valid: Files to validate on.
        text_column: Heading, number (from 1) or JSON key of the text.
        label_column: Heading, number (from 1) or JSON key of the label.
        delimiter: What stands between the cells of a table.
        header: Whether a table's first row names the columns.
        label_separator: What stands between the labels of a cell.
        common: How to report.
    """
    columns = Columns(text_column, label_column, delimiter, header, label_separator)
    parts = {"training": read_labelled_texts(data, columns)}
    if valid:
        parts["validation"] = read_labelled_texts(valid, columns)
    found = inspect_labels(
        {name: _items(part) for name, part in parts.items()},
        unit="words",
        notes=[note for part in parts.values() for note in part.notes],
        bad=[row for part in parts.values() for row in part.bad],
    )
    _show("text-classification", data, found, common)


@app.command(name=("series-classification", "gesture"))
def series_classification(
    data: list[Path],
    /,
    *,
    valid: list[Path] | None = None,
    values_key: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    common: Common = AS_TABLES,
) -> None:
    """Say what is in labelled series: channels, labels, lengths, missing values, copies, and what splits share.

    Args:
        data: Files or folders to train on.
        valid: Files to validate on.
        values_key: JSON key of the points, or headings of the channels' columns with commas between.
        label_column: Heading, number (from 1) or JSON key of the label.
        id_column: Column that tells the series of a long table apart.
        time_column: Column by which the rows of a series are put in order.
        common: How to report.
    """
    columns = SeriesColumns(values_key, label_column, id_column, time_column)
    parts = {"training": read_series(data, columns)}
    if valid:
        parts["validation"] = read_series(valid, columns)
    found = inspect_labels(
        {name: _series_items(part) for name, part in parts.items()},
        unit="points",
        notes=[note for part in parts.values() for note in (*part.notes, *_channel_notes(part))],
        bad=[row for part in parts.values() for row in part.bad],
    )
    _show("series-classification", data, found, common)


@app.command(name=("tagging", "ner"))
def tagging(
    data: list[Path],
    /,
    *,
    valid: list[Path] | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    common: Common = AS_TABLES,
) -> None:
    """Say what is in tagged sentences: scheme, entities, ambiguous and unseen words, copies, what splits share.

    Args:
        data: Files or folders to train on.
        valid: Files to validate on.
        text_column: Number (from 1) of the words' column, or JSON key of the text.
        label_column: Number (from 1) or CoNLL-U name of the tags' column, or JSON key of spans.
        common: How to report.
    """
    columns = TagColumns(text_column, label_column)
    parts = {"training": read_tagged(data, columns)}
    if valid:
        parts["validation"] = read_tagged(valid, columns)
    examples = {name: part.examples for name, part in parts.items()}
    scheme = scheme_of([one for some in examples.values() for one in some])
    found = inspect_labels(
        {name: tag_items(some, scheme.scheme) for name, some in examples.items()},
        unit="words",
        of_all_labels=True,
        notes=[
            *(note for part in parts.values() for note in part.notes),
            *tag_notes(examples["training"], examples.get("validation", ()), scheme),
        ],
        bad=[row for part in parts.values() for row in part.bad],
    )
    _show("tagging", data, found, common)


@app.command(name=("speech", "asr"))
def speech(
    data: list[Path],
    /,
    *,
    valid: list[Path] | None = None,
    path_column: str | None = None,
    text_column: str | None = None,
    common: Common = AS_TABLES,
) -> None:
    """Say what is in recordings: rates, lengths, silence, clipping, characters, files that cannot be read.

    Args:
        data: Lists or folders of recordings to train on.
        valid: Those to validate on.
        path_column: Heading, number (from 1) or JSON key of the paths.
        text_column: Heading, number (from 1) or JSON key of what is said.
        common: How to report.
    """
    columns = RecordingColumns(path_column, text_column)
    parts = {"training": read_recordings(data, columns)}
    if valid:
        parts["validation"] = read_recordings(valid, columns)
    _show("speech", data, inspect_speech(parts), common)


def _series_items(series: SeriesSet) -> list[Item]:
    """Take series as the same where all their values are."""
    return [
        Item(
            f"series {blake2b(one.values.tobytes(), digest_size=8).hexdigest()}", one.labels, one.place, len(one.values)
        )
        for one in series.examples
    ]


def _channel_notes(series: SeriesSet) -> list[str]:
    """Say of each channel where its values lie, and how many are missing."""
    values = np.concatenate([one.values for one in series.examples]).astype(np.float64)
    missing = np.isnan(values).mean(0)
    rows = zip(series.channels, np.nanmin(values, 0), np.nanmean(values, 0), np.nanmax(values, 0), missing, strict=True)
    return [
        f"channel {name}: {low:.4g} to {high:.4g}, mean {mean:.4g}{f', {share:.1%} missing' if share else ''}"
        for name, low, mean, high, share in rows
    ]


def _items(texts: LabelledTexts) -> list[Item]:
    """Take texts as the same where case and spaces alone tell them apart."""
    words = [one.text.lower().split() for one in texts.examples]
    return [
        Item(" ".join(some), one.labels, one.place, len(some)) for some, one in zip(words, texts.examples, strict=True)
    ]


def _show(
    task: str, data: Sequence[Path], found: TextInspection | LabelInspection | SpeechInspection, common: Common
) -> None:
    if common.json:
        report: dict[str, Any] = {"task": task, "data": [str(path) for path in data], **found.to_dict()}
        print_json(report)
        return
    for title, rows in found.sections():
        if rows:
            print_pairs(escape(title), [(escape(name), escape(value)) for name, value in rows])
