"""Texts to words, words to tags, tags to places in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.data.ragged import in_batches
from rnnkit.decoding.crf import best_paths, messages
from rnnkit.tasks.tagging.data import WordBatch
from rnnkit.tasks.tagging.decoding import span_probability
from rnnkit.tasks.tagging.lines import Line, entity_of, lines_of, text_of, with_text
from rnnkit.tasks.tagging.results import Reading, TaggedText, TaggedWord

if TYPE_CHECKING:
    from rnnkit.tasks.tagging.task import Tagging

ROWS, STEPS = 128, 16_384  # of a batch


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
    texts = [text_of(one) for one in inputs]
    lines = [list(lines_of(one, task.rules)) for one in inputs]
    every = [line for some in lines for line in some]
    lengths = np.array([len(line.words) for line in every], dtype=np.int64)
    for places in in_batches(lengths, batch_size=ROWS, most_steps=STEPS):
        _tag(task, [every[place] for place in places.tolist()], readings)
    return [
        TaggedText(
            text,
            tuple(word for line in some for word in line.tagged),
            tuple(with_text(one, text) for line in some for one in line.entities),
            tuple(some[0].readings) if len(some) == 1 else (),
        )
        for text, some in zip(texts, lines, strict=True)
    ]


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
                line.entities.append(entity_of(line, span, sure))
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
    words = WordBatch.place(task.words.encode(list(numbers)), task.device)
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
