"""Recurrent classifiers as plain C99: one header and its weights, no allocation, memory that is known ahead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from rnnkit.data.tokens import DOCUMENT
from rnnkit.errors import ConfigError
from rnnkit.layers import GatedLayer, Pooling, Stack
from rnnkit.layers.pooling import SCORE_LIMIT
from rnnkit.tasks import Task
from rnnkit.tasks.series_classification import SeriesClassification
from rnnkit.tasks.text_classification import TextClassification

CALLS = {"lstm": "lstm", "gru": "gru", "gru-reset-before": "gru_reset_before", "rnn-tanh": "rnn", "rnn-relu": "rnn"}
NUMBERS_A_LINE = 8
OTHERS = re.compile(r"[^A-Za-z0-9_]+")


class Source:
    """C that grows: arrays of weights, fields of the stream, statements of a step.

    Args:
        name: Begins every name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays: dict[str, np.ndarray] = {}
        self.fields: list[str] = []
        self.reset: list[str] = []
        self.step: list[str] = []
        self.scratch = 1  # floats

    def weights(self, word: str, values: Tensor | np.ndarray | None) -> str:
        """Keep an array of constants, and return its name; 0 where there is none."""
        if values is None:
            return "0"
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        name = f"{self.name}_{word}"
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def matrix(self, word: str, weight: Tensor) -> str:
        """Keep a matrix column by column."""
        return self.weights(word, weight.detach().T)

    def field(self, word: str, size: int, begin: str = "0") -> str:
        """Add an array of floats to the stream, and return its name there."""
        self.fields.append(f"float {word}[{size}];")
        if begin != "0":
            self.reset.append(f"for (int at = 0; at < {size}; ++at) stream->{word}[at] = {begin};")
        return f"stream->{word}"

    def need(self, floats: int) -> str:
        """Ask for room that a step may use, and return its name."""
        self.scratch = max(self.scratch, floats)
        return "stream->scratch"

    def say(self, *lines: str) -> None:
        """Add statements to the step."""
        self.step.extend(lines)


def c_identifier(name: str) -> str:
    """Turn a model's name into one that C takes."""
    word = OTHERS.sub("_", name).strip("_").lower() or "model"
    return f"model_{word}" if word[0].isdigit() else word


def export_c(task: Task, folder: Path, *, name: str) -> list[Path]:
    """Write a classifier as C99.

    Args:
        task: A classifier of texts or series, of one direction.
        folder: Where the header and its weights go; made if need be.
        name: Begins every name in it.

    Returns:
        The files.

    Raises:
        ConfigError: If the model cannot be written in plain C, with the reason.
    """
    if not isinstance(task, (TextClassification, SeriesClassification)):
        raise ConfigError(f"a {task.name} model is not written as C; classifiers of texts and of series are")
    if not task.network.streamable:
        raise ConfigError("the model reads backwards too; train one without --bidirectional to have it in C")
    source = Source(name)
    text = _text(task, source) if isinstance(task, TextClassification) else _series(task, source)
    folder.mkdir(parents=True, exist_ok=True)
    header, weights = folder / f"{name}.h", folder / f"{name}_weights.h"
    weights.write_text(_weights_file(source))
    header.write_text(text)
    if not isinstance(task, TextClassification):
        return [header, weights]
    tokens = folder / f"{name}_tokens.txt"
    tokens.write_text("".join(f"{task.vocabulary.piece(token)}\n" for token in range(task.vocabulary.size)))
    return [header, weights, tokens]


# The parts of a network


def _stack(source: Source, stack: Stack, values: str) -> str:
    """Add the layers; return where the outputs of the last one are."""
    rows: Any = stack.layers
    norms: Sequence[nn.Module] = list(stack.norms)
    for depth, (row, norm) in enumerate(zip(rows, norms, strict=True)):
        (layer,) = row
        below = _normed(source, depth, norm, layer.input_size, values)
        state = _layer(source, depth, layer, below)
        size = layer.output_size
        if stack.residual and layer.input_size == size:
            joined = source.field(f"sum{depth}", size)
            source.say(f"for (int at = 0; at < {size}; ++at) {joined}[at] = {state}[at] + {values}[at];")
            values = joined
        else:
            values = state
    return values


def _normed(source: Source, depth: int, norm: Any, size: int, values: str) -> str:
    if isinstance(norm, nn.Identity):
        return values
    out, weight = source.field(f"normed{depth}", size), source.weights(f"norm{depth}_weight", norm.weight)
    centred = isinstance(norm, nn.LayerNorm)
    bias = source.weights(f"norm{depth}_bias", norm.bias) if centred else "0"
    epsilon: Any = norm.eps if norm.eps is not None else np.finfo(np.float32).eps
    source.say(f"rnnkit_norm({out}, {values}, {weight}, {bias}, {size}, {_number(epsilon)}, {int(centred)});")
    return out


def _layer(source: Source, depth: int, layer: Any, values: str) -> str:
    """Add one layer; return where its output, which is its state, is."""
    formula = layer.formula if isinstance(layer, GatedLayer) else ""
    if formula not in CALLS or layer.heads != 1 or layer.projection_size or layer.zoneout:
        raise ConfigError(f"{type(layer).__name__} with these options is not written as C; rnn, lstm and gru are")
    size, prefix = layer.hidden_size, f"layer{depth}"
    begun = [source.weights(f"{prefix}_first{part}", first) for part, first in enumerate(layer.initial)]
    states = [
        source.field(f"{prefix}_{part}", size, f"{begun[place]}[at]" if begun else "0")
        for place, part in enumerate(layer.state_names)
    ]
    of_input = source.matrix(f"{prefix}_input", layer.weight_ih_l0)
    biases = (layer.bias_ih_l0, layer.bias_hh_l0) if layer.bias else (None, None)
    gates = source.need(7 * size)
    sizes = f"{values}, {layer.input_size}, {size}"
    if formula.startswith("gru"):
        separate = [source.weights(f"{prefix}_{word}_bias", bias) for word, bias in zip("ab", biases, strict=True)]
        both = 2 * size
        parts = [layer.weight_hh_l0] if formula == "gru" else [layer.weight_hh_l0[:both], layer.weight_hh_l0[both:]]
        matrices = [source.matrix(f"{prefix}_state{part}", one) for part, one in enumerate(parts)]
        weights = ", ".join([of_input, *matrices, *separate])
    else:
        summed = None if biases[0] is None or biases[1] is None else biases[0] + biases[1]
        weights = f"{of_input}, {source.matrix(f'{prefix}_state', layer.weight_hh_l0)}, " + source.weights(
            f"{prefix}_bias", summed
        )
    rectified = f", {int(formula == 'rnn-relu')}" if CALLS[formula] == "rnn" else ""
    source.say(f"rnnkit_{CALLS[formula]}({', '.join(states)}, {gates}, {weights}, {sizes}{rectified});")
    return states[0]


def _pooling(source: Source, pooling: Pooling, values: str) -> str:
    """Add the pooling of every step so far; return where its result is."""
    size, kind = pooling.size, pooling.kind
    if kind == "last":
        return values
    pooled = source.field("pooled", pooling.output_size)
    at = f"for (int at = 0; at < {size}; ++at)"
    first = size if kind == "concat" else 0
    if kind == "attention":
        score_layers: Any = pooling.score
        between, _, last = score_layers
        total, weight, score = source.field("weighted", size), source.field("weight", 1), source.field("score", 1)
        room, matrix = source.need(size), source.matrix("attention", between.weight)
        bias, vector = source.weights("attention_bias", between.bias), source.matrix("score_weight", last.weight)
        source.say(f"rnnkit_affine({room}, {matrix}, {bias}, {values}, {size}, {size});")
        source.say(f"{at} {room}[at] = tanhf({room}[at]);")
        source.say(f"rnnkit_affine({score}, {vector}, 0, {room}, 1, {size});")
        limit = _number(SCORE_LIMIT)
        source.say(f"{score}[0] = expf({limit} * tanhf({score}[0] / {limit}));", f"{weight}[0] += {score}[0];")
        source.say(f"{at} {total}[at] += {score}[0] * {values}[at];", f"{at} {pooled}[at] = {total}[at] / {weight}[0];")
    if kind in ("mean", "concat"):
        total, count = source.field("total", size), source.field("count", 1)
        source.say(f"{count}[0] += 1.0f;", f"{at} {total}[at] += {values}[at];")
        source.say(f"{at} {pooled}[{first} + at] = {total}[at] / {count}[0];")
    if kind in ("max", "concat"):
        largest = source.field("largest", size, "-FLT_MAX")
        source.say(f"{at} {largest}[at] = {values}[at] > {largest}[at] ? {values}[at] : {largest}[at];")
        source.say(f"{at} {pooled}[{2 * first} + at] = {largest}[at];")
    if kind == "concat":
        source.say(f"{at} {pooled}[at] = {values}[at];")
    return pooled


def _scores(source: Source, task: Any, values: str) -> None:
    network = task.network
    pooled = _pooling(source, network.pooling, _stack(source, network.stack, values))
    labels, size = network.output.weight.shape
    matrix, bias = source.matrix("output", network.output.weight), source.weights("output_bias", network.output.bias)
    source.say(f"rnnkit_affine(stream->scores, {matrix}, {bias}, {pooled}, {labels}, {size});")


# Classifiers of texts


def _text(task: TextClassification, source: Source) -> str:
    network, name = task.network, source.name
    table: Any = network.front.embedding
    size, labels = table.embedding_dim, len(task.labels)
    embedded = source.weights("embedding", table.weight)
    _scores(source, task, f"({embedded} + (long)token * {size})")
    if network.direct is not None and float(network.direct.gain):
        _naive_bayes(source, network.direct, labels)
    apart = int(task.labels.multi_label)
    source.say(
        f"rnnkit_probabilities(stream->probabilities, stream->scores, {labels}, "
        f"{task.decision.temperature!r}, {apart});"
    )
    body = f"""
/* Read a token, a number below {table.num_embeddings}: its line in {name}_tokens.txt, from 0. */
static inline void {name}_push({name}_stream *stream, int token) {{
{_block(source.step)}
    stream->label = rnnkit_largest(stream->probabilities, {labels});
    ++stream->steps;
}}

/* Begin a text. */
static inline void {name}_reset({name}_stream *stream) {{
    memset(stream, 0, sizeof *stream);
{_block(source.reset)}
    {name}_push(stream, {DOCUMENT});
    stream->steps = 0;
}}
"""
    return _header(source, task, labels, body, "tokens of a text")


def _naive_bayes(source: Source, direct: Any, labels: int) -> None:
    """Add what counting says of tokens and of pairs."""
    pairs, weights = source.weights("pairs", direct.pairs), source.weights("pair_weights", direct.weights)
    sums = source.field("said", labels)
    source.fields.append("int before, told;")
    gain, tokens, count = _number(float(direct.gain)), direct.num_tokens, len(direct.pairs)
    source.say(
        "if (token > 1) {",
        f"    for (int at = 0; at < {labels}; ++at) {sums}[at] += {weights}[(long)token * {labels} + at];",
        "    ++stream->told;",
        "}",
    )
    if count:
        source.say(
            "if (token > 1 && stream->before > 1) {",
            f"    const long long key = (long long)stream->before * {tokens} + token;",
            f"    long low = 0, high = {count};",
            "    while (low < high) {",
            "        const long middle = (low + high) / 2;",
            f"        if ({pairs}[middle] < key) low = middle + 1; else high = middle;",
            "    }",
            f"    if (low < {count} && {pairs}[low] == key) {{",
            f"        const float *const from = {weights} + ({tokens} + low) * {labels};",
            f"        for (int at = 0; at < {labels}; ++at) {sums}[at] += from[at];",
            "    }",
            "}",
        )
    source.say(
        "stream->before = token;",
        f"for (int at = 0; at < {labels}; ++at) {{",
        f"    stream->scores[at] += {gain} * {sums}[at] / sqrtf((float)(stream->told > 1 ? stream->told : 1));",
        "}",
    )


# Classifiers of series


def _series(task: SeriesClassification, source: Source) -> str:
    if task.config.resample is not None:
        raise ConfigError("the model stretches whole series, so it has no steps to take; train one without --resample")
    if task.hears:
        raise ConfigError("the model hears recordings; only series of numbers are written as C")
    front: Any = task.network.front
    name, channels, labels, stride = source.name, len(task.means), len(task.labels), task.stride
    views = _views(source, "views", front.views)
    values = views
    if front.convolution is not None:
        values = _convolution(source, front.convolution, views)
    _scores(source, task, values)
    direct: Any = task.network.direct
    if direct is not None and float(direct.gain):
        _random_convolutions(source, direct, labels)
    source.say(
        f"rnnkit_probabilities(stream->probabilities, stream->scores, {labels}, {task.decision.temperature!r}, 0);"
    )
    means, null = source.weights("means", np.asarray(task.means, np.float32)), task.null
    rule = task.rule
    body = f"""
static inline void {name}_step({name}_stream *stream, const float *values) {{
{_block(source.step)}
    ++stream->steps;
    const int leader = rnnkit_largest(stream->probabilities, {labels});
    const int sure = (double)stream->probabilities[leader] >= {rule.confidence!r};
    stream->run = sure ? (leader == stream->label && stream->run > 0 ? stream->run + 1 : 1) : 0;
    stream->label = leader;
    if (stream->fired < 0 && stream->run >= {rule.patience} && leader != {-1 if null is None else null}) {{
        stream->fired = leader;
    }}
}}

/* Take a sample: {channels} numbers, NAN where one is missing. Returns 1 where it completes a step. */
static inline int {name}_push({name}_stream *stream, const float *sample) {{
    for (int at = 0; at < {channels}; ++at) {{
        if (sample[at] == sample[at]) stream->seen[at] = sample[at];
        stream->sums[at] += (double)stream->seen[at];
    }}
    if (++stream->waiting < {stride}) return 0;
    return {name}_answer(stream);
}}

/* End the series: samples that make no whole step make the last one, and what was not decided is decided. */
static inline void {name}_finish({name}_stream *stream) {{
    if (stream->waiting > 0) {name}_answer(stream);
    if (stream->steps > 0 && stream->fired < 0 && stream->label != {-1 if null is None else null}) {{
        stream->fired = stream->label;
    }}
}}

/* Begin a series. */
static inline void {name}_reset({name}_stream *stream) {{
    memset(stream, 0, sizeof *stream);
{_block(source.reset)}
    for (int at = 0; at < {channels}; ++at) stream->seen[at] = {means}[at];
    stream->fired = -1;
}}
"""
    answer = f"""
static inline int {name}_answer({name}_stream *stream) {{
    float values[{channels}];
    for (int at = 0; at < {channels}; ++at) {{
        values[at] = (float)(stream->sums[at] / stream->waiting);
        stream->sums[at] = 0.0;
    }}
    stream->waiting = 0;
    {name}_step(stream, values);
    return 1;
}}
"""
    body = body.replace("\n/* Take a sample", f"{answer}\n/* Take a sample", 1)
    source.fields += [f"float seen[{channels}];", f"double sums[{channels}];", "int waiting, run, fired;"]
    return _header(source, task, labels, body, "samples of a series")


def _views(source: Source, word: str, views: Any) -> str:
    """Add a channel's value, distance from the first, and change, normalised."""
    channels, out = views.channels, source.field(word, views.output_size)
    first, last = source.field(f"{word}_first", channels), source.field(f"{word}_last", channels)
    means, widths = source.weights(f"{word}_means", views.means), source.weights(f"{word}_widths", views.deviations)
    source.say(
        f"for (int at = 0; at < {channels}; ++at) {{",
        f"    if (stream->steps == 0) {first}[at] = {last}[at] = values[at];",
        f"    {out}[at] = values[at];",
        f"    {out}[{channels} + at] = values[at] - {first}[at];",
        f"    {out}[{2 * channels} + at] = values[at] - {last}[at];",
        f"    {last}[at] = values[at];",
        "}",
        f"for (int at = 0; at < {views.output_size}; ++at) {out}[at] = ({out}[at] - {means}[at]) / {widths}[at];",
    )
    return out


def _convolution(source: Source, layer: Any, values: str) -> str:
    """Add a causal convolution; return where its outputs are."""
    size, filters, taps = layer.input_size, layer.hidden_size, layer.kernel_size
    window, out = source.field("window", taps * size), source.field("filtered", filters)
    weight = layer.weight.detach().permute(2, 1, 0).reshape(taps * size, filters)  # a column of filters for each input
    matrix, bias = source.weights("filters", weight), source.weights("filter_bias", layer.bias_of_filters)
    source.say(
        f"memmove({window}, {window} + {size}, {(taps - 1) * size} * sizeof(float));",
        f"memcpy({window} + {(taps - 1) * size}, {values}, {size} * sizeof(float));",
        f"rnnkit_affine({out}, {matrix}, {bias}, {window}, {filters}, {taps * size});",
        f"for (int at = 0; at < {filters}; ++at) {out}[at] = rnnkit_gelu({out}[at]);",
    )
    return out


def _random_convolutions(source: Source, direct: Any, labels: int) -> None:
    """Add what a ridge regression on random convolutions says."""
    views = _views(source, "direct", direct.views)
    size, kernels, thresholds = direct.views.output_size, *direct.thresholds.shape
    kept = direct.reach + 1
    past = source.field("past", kept * size)
    sums = source.field("highs", kernels * thresholds)
    outputs, said = source.field("outputs", kernels), source.field("regressed", 2 * labels)
    matrices, offsets = source.weights("kernels", direct.kernels), source.weights("offsets", direct.offsets)
    limits, widths = source.weights("thresholds", direct.thresholds), source.weights("kernel_widths", direct.widths)
    weights, bias = source.weights("regression", direct.weights), source.weights("regression_bias", direct.bias)
    source.say(
        f"memcpy({past} + (stream->steps % {kept}) * {size}, {views}, {size} * sizeof(float));",
        f"memset({outputs}, 0, sizeof {outputs});",
        f"for (int tap = 0; tap < {len(direct.offsets)}; ++tap) {{",
        f"    const long back = (long){offsets}[tap];",
        "    if (back > stream->steps) continue;",
        f"    const float *const then = {past} + ((stream->steps - back) % {kept}) * {size};",
        f"    rnnkit_add({outputs}, {matrices} + (long)tap * {size * kernels}, then, {kernels}, {size});",
        "}",
        f"for (int at = 0; at < {kernels * thresholds}; ++at) {{",
        f"    const int kernel = at / {thresholds};",
        f"    const float above = ({outputs}[kernel] - {limits}[at]) / {widths}[kernel] + 0.5f;",
        f"    {sums}[at] += above < 0.0f ? 0.0f : above > 1.0f ? 1.0f : above;",
        "}",
        f"memcpy({said}, {bias}, sizeof {said});",
        f"for (int at = 0; at < {kernels * thresholds}; ++at) {{",
        f"    const float share = {sums}[at] / (float)(stream->steps + 1);",
        f"    for (int to = 0; to < {2 * labels}; ++to) {said}[to] += share * {weights}[at * {2 * labels} + to];",
        "}",
        f"const float part = (float)(stream->steps + 1) / {_number(float(direct.short))};",
        "const float whole = part < 1.0f ? part : 1.0f, mixed = 4.0f * whole - 1.0f;",
        "const float late = mixed < 0.0f ? 0.0f : mixed > 1.0f ? 1.0f : mixed;",
        f"for (int at = 0; at < {labels}; ++at) {{",
        f"    const float early = {said}[at];",
        f"    stream->scores[at] += {_number(float(direct.gain))} * whole * "
        f"(early + late * ({said}[{labels} + at] - early));",
        "}",
    )


# The files


def _header(source: Source, task: Task, labels: int, body: str, read: str) -> str:
    name, names = source.name, [str(one) for one in task.labels.names]  # type: ignore[attr-defined]
    quoted = ",\n".join(f"    {_quoted(one)}" for one in names)
    fields = "\n".join(f"    {field}" for field in source.fields)
    runtime = files("rnnkit.export").joinpath("plain.h").read_text()
    return f"""/* {name}: a {task.name} model written by rnnkit, in C99.

   {name}_stream stream;                  all the memory it needs, sizeof(stream) bytes beside the constants
   {name}_reset(&stream);                 begin
   {name}_push(&stream, ...);             {read}, one at a time
   stream.probabilities[label]            after every step; {name}_labels[stream.label] is the likeliest

   Nothing is allocated, nothing is kept elsewhere. Link with -lm. */
#ifndef RNNKIT_{name.upper()}_H
#define RNNKIT_{name.upper()}_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "{name}_weights.h"

#ifndef RNNKIT_PLAIN
#define RNNKIT_PLAIN
{runtime}
#endif

#define {name.upper()}_LABELS {labels}
static const char *const {name}_labels[{labels}] = {{
{quoted}
}};

typedef struct {{
    float probabilities[{labels}], scores[{labels}];
    int label, steps;
{fields}
    float scratch[{source.scratch}];
}} {name}_stream;
{body}
#endif
"""


def _weights_file(source: Source) -> str:
    parts = [f"/* Constants of {source.name}. */\n"]
    for name, array in source.arrays.items():
        whole = np.issubdtype(array.dtype, np.integer)
        kind = "long long" if whole else "float"
        words = [f"{value}LL" if whole else _number(value) for value in array.reshape(-1).tolist()] or ["0"]
        lines = [", ".join(words[at : at + NUMBERS_A_LINE]) for at in range(0, len(words), NUMBERS_A_LINE)]
        parts.append(f"static const {kind} {name}[{len(words)}] = {{\n" + ",\n".join(lines) + "\n};\n")
    return "\n".join(parts)


def _block(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _number(value: float) -> str:
    return f"{value:.9e}f"


def _quoted(text: str) -> str:
    characters = (
        one if " " <= one <= "~" and one not in '"\\?' else "".join(f"\\{byte:03o}" for byte in one.encode())
        for one in text
    )
    return f'"{"".join(characters)}"'
