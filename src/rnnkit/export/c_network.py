"""The parts of networks as C: layers, pooling, views, convolutions, and what scores beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from rnnkit.errors import ConfigError
from rnnkit.export.c_source import Source, number
from rnnkit.layers import GatedLayer, Pooling, Stack
from rnnkit.layers.pooling import SCORE_LIMIT

CALLS = {"lstm": "lstm", "gru": "gru", "gru-reset-before": "gru_reset_before", "rnn-tanh": "rnn", "rnn-relu": "rnn"}


def add_stack(source: Source, stack: Stack, values: str) -> str:
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
    source.say(f"rnnkit_norm({out}, {values}, {weight}, {bias}, {size}, {number(epsilon)}, {int(centred)});")
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
        limit = number(SCORE_LIMIT)
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


def add_scores(source: Source, network: Any, values: str) -> None:
    """Add what the network says of labels, from the features of a step."""
    pooled = _pooling(source, network.pooling, add_stack(source, network.stack, values))
    labels, size = network.output.weight.shape
    matrix, bias = source.matrix("output", network.output.weight), source.weights("output_bias", network.output.bias)
    source.say(f"rnnkit_affine(stream->scores, {matrix}, {bias}, {pooled}, {labels}, {size});")


def add_naive_bayes(source: Source, direct: Any, labels: int) -> None:
    """Add what counting says of tokens and of pairs."""
    pairs, weights = source.weights("pairs", direct.pairs), source.weights("pair_weights", direct.weights)
    sums = source.field("said", labels)
    source.fields.append("int before, told;")
    gain, tokens, count = number(float(direct.gain)), direct.num_tokens, len(direct.pairs)
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


def add_views(source: Source, word: str, views: Any) -> str:
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


def add_convolution(source: Source, layer: Any, values: str) -> str:
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


def add_random_convolutions(source: Source, direct: Any, labels: int) -> None:
    """Add what a ridge regression on random convolutions says."""
    views = add_views(source, "direct", direct.views)
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
        f"const float part = (float)(stream->steps + 1) / {number(float(direct.short))};",
        "const float whole = part < 1.0f ? part : 1.0f, mixed = 4.0f * whole - 1.0f;",
        "const float late = mixed < 0.0f ? 0.0f : mixed > 1.0f ? 1.0f : mixed;",
        f"for (int at = 0; at < {labels}; ++at) {{",
        f"    const float early = {said}[at];",
        f"    stream->scores[at] += {number(float(direct.gain))} * whole * "
        f"(early + late * ({said}[{labels} + at] - early));",
        "}",
    )
