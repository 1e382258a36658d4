"""Texts to words, words to tags, tags to places in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.data.ragged import in_batches
from rnnkit.data.schemes import Span
from rnnkit.data.words import WordRules
from rnnkit.decoding.crf import best_paths, messages
from rnnkit.tasks.tagging.decoding import span_probability
from rnnkit.tasks.tagging.features import WordBatch
from rnnkit.tasks.tagging.results import Entity, Reading, TaggedText, TaggedWord

if TYPE_CHECKING:
    from rnnkit.tasks.tagging.task import Tagging

ROWS, STEPS = 128, 16_384  # of a batch


@dataclass
class Line:
    """A sentence of an input: its words and where they stand in the text, and what was found out about it."""

    words: list[str]
    places: list[tuple[int, int]]
    tagged: list[TaggedWord] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def answer(task: Tagging, inputs: Sequence[str | Sequence[str]], *, readings: int) -> list[TaggedText]:
    """Tag texts.

    Args:
        task: The model.
        inputs: Texts, each line of which is a sentence; or sentences of words.
        readings: How many ways to tag a text of one line to name.

    Returns:
        One result a text.
    """
    task.network.eval()
    texts = [one if isinstance(one, str) else " ".join(one) for one in inputs]
    lines = [list(_lines(one, text, task.rules)) for one, text in zip(inputs, texts, strict=True)]
    every = [line for some in lines for line in some]
    lengths = np.array([len(line.words) for line in every], dtype=np.int64)
    for places in in_batches(lengths, batch_size=ROWS, most_steps=STEPS):
        _tag(task, [every[place] for place in places.tolist()], readings)
    return [
        TaggedText(
            text,
            tuple(word for line in some for word in line.tagged),
            tuple(_with_text(one, text) for line in some for one in line.entities),
            tuple(some[0].readings) if len(some) == 1 else (),
        )
        for text, some in zip(texts, lines, strict=True)
    ]


def _lines(given: str | Sequence[str], text: str, rules: WordRules) -> Iterator[Line]:
    """Cut an input into sentences; lines without a word have none."""
    if not isinstance(given, str):
        ends = np.cumsum([len(word) + 1 for word in given]).tolist()
        if given:
            yield Line(list(given), [(end - 1 - len(word), end - 1) for end, word in zip(ends, given, strict=True)])
        return
    begin = 0
    for line in text.split("\n"):
        places = [(begin + start, begin + end) for start, end in rules.split(line)]
        if places:
            yield Line([text[start:end] for start, end in places], places)
        begin += len(line) + 1


def _tag(task: Tagging, lines: Sequence[Line], readings: int) -> None:
    inputs, words, lengths = batch_of([line.words for line in lines], task)
    with torch.inference_mode():
        scores = task.network(inputs, words, lengths, _context(task, lines, inputs)).float()
        decoded = task.decode(scores, lengths)
        chain, scores = task.chain, scores / task.temperature
        found = messages(chain, scores, lengths)
        listed = _readings(task, scores, lengths, found.log_partition, count=readings) if readings else None
        for row, (line, one) in enumerate(zip(lines, decoded, strict=True)):
            numbers: list[int] = one.numbers.tolist()
            tags = task.tags.write(numbers)
            line.tagged = [
                TaggedWord(word, *place, tag, float(sure))
                for word, place, tag, sure in zip(line.words, line.places, tags, one.probabilities, strict=True)
            ]
            for span in task.tags.spans(numbers):
                sure = span_probability(chain, found, row, span, numbers[span.first : span.end])
                line.entities.append(_entity(line, span, sure))
            line.readings = listed[row] if listed else []


def _context(task: Tagging, lines: Sequence[Line], inputs: Tensor) -> Tensor | None:
    """Read sentences with the model's language model, if it has one: (batch, time, size)."""
    if task.network.reader is None:
        return None
    parts = [torch.from_numpy(part) for part in task.network.reader.read([line.words for line in lines])]
    return nn.utils.rnn.pad_sequence(parts, batch_first=True).to(inputs.device)


def batch_of(sentences: Sequence[Sequence[str]], task: Tagging) -> tuple[Tensor, WordBatch, Tensor]:
    """Lay sentences out: (batch, time) places of words, the distinct words, (batch,) lengths."""
    numbers: dict[str, int] = {}
    lengths = torch.tensor([len(words) for words in sentences])
    inputs = torch.zeros(len(sentences), int(lengths.max()), dtype=torch.int64)
    for row, words in zip(inputs, sentences, strict=True):
        row[: len(words)] = torch.tensor([numbers.setdefault(word, len(numbers)) for word in words])
    words = WordBatch(*(part.to(task.device) for part in task.words.encode(list(numbers))))
    return inputs.to(task.device), words, lengths.to(task.device)


def _readings(
    task: Tagging, scores: Tensor, lengths: Tensor, log_partition: Tensor, *, count: int
) -> list[list[Reading]]:
    """List the best paths of each sentence with their probabilities."""
    paths, best = best_paths(task.chain, scores, lengths, count=count)
    shares = (best - log_partition[:, None]).exp().tolist()
    return [
        [
            Reading(tuple(task.tags.write(path[:length])), share)
            for path, share in zip(rows, parts, strict=False)
            if share > 0
        ]
        for rows, parts, length in zip(paths.tolist(), shares, lengths.tolist(), strict=True)
    ]


def _entity(line: Line, span: Span, probability: float) -> Entity:
    return Entity(span.label, "", line.places[span.first][0], line.places[span.end - 1][1], probability)


def _with_text(entity: Entity, text: str) -> Entity:
    return Entity(entity.label, text[entity.start : entity.end], entity.start, entity.end, entity.probability)
