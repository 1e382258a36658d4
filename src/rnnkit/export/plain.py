"""Recurrent classifiers and forecasters as plain C99: a header and its weights, no allocation, memory known ahead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.tokens import DOCUMENT
from rnnkit.errors import ConfigError
from rnnkit.export.c_forecaster import forecaster_body
from rnnkit.export.c_network import add_convolution, add_naive_bayes, add_random_convolutions, add_scores, add_views
from rnnkit.export.c_source import Source, block, filled, quoted, weights_file
from rnnkit.tasks import Task
from rnnkit.tasks.forecasting import Forecasting
from rnnkit.tasks.series_classification import SeriesClassification
from rnnkit.tasks.text_classification import TextClassification


def export_c(task: Task, folder: Path, *, name: str) -> list[Path]:
    """Write a classifier or forecaster as C99.

    Args:
        task: A classifier of texts or series, of one direction, or a forecaster.
        folder: Where the header and its weights go; made if need be.
        name: Begins every name in it.

    Returns:
        The files.

    Raises:
        ConfigError: If the model cannot be written in plain C, with the reason.
    """
    source = Source(name)
    if isinstance(task, Forecasting):
        said = f"stream.quantiles[step][level]           after every step; {name}_levels names the levels"
        body = forecaster_body(task, source)
        text = _header(source, task, body, read="values of a series", said=said, given=", number")
    elif isinstance(task, (TextClassification, SeriesClassification)):
        if not task.network.streamable:
            raise ConfigError("the model reads backwards too; train one without --bidirectional to have it in C")
        text = _text(task, source) if isinstance(task, TextClassification) else _series(task, source)
    else:
        raise ConfigError(f"a {task.name} model is not written as C; classifiers and forecasters are")
    folder.mkdir(parents=True, exist_ok=True)
    header, weights = folder / f"{name}.h", folder / f"{name}_weights.h"
    weights.write_text(weights_file(source))
    header.write_text(text)
    if not isinstance(task, TextClassification):
        return [header, weights]
    tokens = folder / f"{name}_tokens.txt"
    tokens.write_text("".join(f"{task.vocabulary.piece(token)}\n" for token in range(task.vocabulary.size)))
    return [header, weights, tokens]


def _text(task: TextClassification, source: Source) -> str:
    network, labels = task.network, len(task.labels)
    table: Any = network.front.embedding
    embedded = source.weights("embedding", table.weight)
    add_scores(source, network, f"({embedded} + (long)token * {table.embedding_dim})")
    if network.direct is not None and float(network.direct.gain):
        add_naive_bayes(source, network.direct, labels)
    _answer(source, task, apart=task.labels.multi_label)
    values = {"tokens": table.num_embeddings, "document": DOCUMENT}
    return _classifier(source, task, "text.h", values, read="tokens of a text")


def _series(task: SeriesClassification, source: Source) -> str:
    if task.config.resample is not None:
        raise ConfigError("the model stretches whole series, so it has no steps to take; train one without --resample")
    if task.hears:
        raise ConfigError("the model hears recordings; only series of numbers are written as C")
    front: Any = task.network.front
    direct: Any = task.network.direct
    channels = len(task.means)
    features = add_views(source, "views", front.views)
    features = features if front.convolution is None else add_convolution(source, front.convolution, features)
    add_scores(source, task.network, features)
    if direct is not None and float(direct.gain):
        add_random_convolutions(source, direct, len(task.labels))
    _answer(source, task, apart=False)
    source.fields += [f"float seen[{channels}];", f"double sums[{channels}];", "int waiting, run, fired;"]
    values = {
        "channels": channels,
        "stride": task.stride,
        "means": source.weights("means", np.asarray(task.means, np.float32)),
        "confidence": repr(float(task.rule.confidence)),
        "patience": task.rule.patience,
        "null": -1 if task.null is None else task.null,
    }
    return _classifier(source, task, "series.h", values, read="samples of a series")


def _answer(source: Source, task: Any, *, apart: bool) -> None:
    numbers = f"{len(task.labels)}, {float(task.decision.temperature)!r}, {int(apart)}"
    source.say(f"rnnkit_probabilities(stream->probabilities, stream->scores, {numbers});")


def _classifier(source: Source, task: Any, template: str, values: Mapping[str, object], *, read: str) -> str:
    """Fill the header with how a classifier steps."""
    name, labels = source.name, [str(one) for one in task.labels.names]
    common: dict[str, object] = {
        "name": name,
        "upper": name.upper(),
        "count": len(labels),
        "labels": ",\n".join(f"    {quoted(one)}" for one in labels),
        "fields": "\n".join(f"    {field}" for field in source.fields),
        "scratch": source.scratch,
        "step": block(source.step),
        "begin": block(source.reset),
    }
    body = filled("classifier.h", {**common, "body": filled(template, {**common, **values})})
    said = f"stream.probabilities[label]            after every step; {name}_labels[stream.label] is the likeliest"
    return _header(source, task, body, read=read, said=said)


def _header(source: Source, task: Task, body: str, *, read: str, said: str, given: str = "") -> str:
    name = source.name
    values = {"name": name, "upper": name.upper(), "task": task.name, "read": read, "given": given, "said": said}
    return filled("header.h", {**values, "runtime": filled("plain.h", {}), "body": body})
