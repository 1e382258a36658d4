"""What of each task's network leaves the house: graphs whose state goes in and comes out by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError
from rnnkit.export.modules import DecoderStep, Encoder, Quantiles, Running, TagScores
from rnnkit.kernels import State
from rnnkit.kernels.core import MISSING, core
from rnnkit.layers import GatedLayer, Stack
from rnnkit.tasks import Task
from rnnkit.tasks.forecasting import Forecasting
from rnnkit.tasks.forecasting.windows import joined
from rnnkit.tasks.language_model import LanguageModel
from rnnkit.tasks.speech import SpeechRecognition
from rnnkit.tasks.speech.heads import CTCHead
from rnnkit.tasks.tagging import Tagging
from rnnkit.tasks.tagging.features import FEATURES
from rnnkit.tasks.translation import Translator

RECURRENT = {"lstm", "gru", "gru-reset-before", "rnn-tanh", "rnn-relu"}  # formulas that are operators of ONNX
RIVALS = {"convolution", "attention", "feed-forward"}  # families without a loop over time
BATCH, TIME = {0: "batch"}, {0: "batch", 1: "time"}


@dataclass(frozen=True)
class Graph:
    """A part of a network: inputs, then the state's parts, to outputs, then the state's parts.

    Attributes:
        name: Of the file.
        module: Computes it.
        inputs: By name, which axes are free.
        outputs: Names.
        state: By name, which axes are free.
        example: Makes inputs, state behind them, of some batch and time.
        any_time: Whether it takes any number of steps; else one step, or what the input needs.
        multiple: Steps come as multiples of this.
    """

    name: str
    module: nn.Module
    inputs: dict[str, dict[int, str]]
    outputs: tuple[str, ...]
    state: dict[str, dict[int, str]]
    example: Callable[[int, int], tuple[Tensor, ...]]
    any_time: bool = True
    multiple: int = 1


def graphs_of(task: Task) -> list[Graph]:
    """Return the graphs of a model.

    Args:
        task: The model.

    Returns:
        One, or those of an encoder and a decoder, a reader and a head.

    Raises:
        ConfigError: If it cannot be exported, with the reason.
    """
    task.network.eval()
    for kind, make in MAKERS:
        if isinstance(task, kind):
            return make(task)
    return [_classifier(task)]


def takes_any_time(stack: Stack) -> str | None:
    """Say why a stack must be exported step by step, if it must."""
    if core is None:
        return MISSING
    for layer in (one for row in stack.layers for one in row):  # type: ignore[attr-defined] - rows of layers
        if isinstance(layer, GatedLayer):
            known = layer.formula in RECURRENT and layer.heads == 1
            if not known or layer.projection_size or layer.zoneout:
                return f"ONNX has no operator for {type(layer).__name__} with these options"
        elif layer.family not in RIVALS:
            return f"ONNX has no operator for {type(layer).__name__}"
    return None


def _running(
    name: str,
    network: nn.Module,
    read: Callable[[Tensor, State], tuple[Tensor, State]],
    *,
    stack: Stack,
    states: Callable[[int], State],
    names: tuple[str, ...],
    steps: Callable[[int, int], Tensor],
    given: str,
    said: str,
    multiple: int = 1,
) -> Graph:
    return Graph(
        name,
        Running(network, read),
        {given: TIME},
        (said,),
        dict.fromkeys(names, BATCH),
        lambda batch, time: (steps(batch, time), *(part.clone() for part in states(batch))),
        any_time=takes_any_time(stack) is None,
        multiple=multiple,
    )


def _whole(network: nn.Module, steps: Callable[[int, int], Tensor], *, stack: Stack, given: str, said: str) -> Graph:
    """Return the graph of a network that reads both ways, so all of a sequence at once."""
    reason = takes_any_time(stack)
    if reason is not None:
        raise ConfigError(f"the model reads backwards too, so all of a sequence at once, but {reason}")
    return Graph(
        "model",
        network,
        {given: TIME, "lengths": BATCH},
        (said,),
        {},
        lambda batch, time: (steps(batch, time), _lengths(batch, time)),
    )


def _lengths(batch: int, time: int) -> Tensor:
    return torch.tensor([max(1, time - row) for row in range(batch)])


def _classifier(task: Any) -> Graph:
    """Scores of labels after each step, or of whole sequences."""
    network = task.network
    reads_text = hasattr(task, "vocabulary")
    channels = None if reads_text else len(task.means)

    def steps(batch: int, time: int) -> Tensor:
        if channels is None:
            return torch.randint(2, task.vocabulary.size, (batch, time))
        return torch.randn(batch, time, channels)

    given = "tokens" if reads_text else "steps"
    if not network.streamable:
        return _whole(network, steps, stack=network.stack, given=given, said="scores")
    return _running(
        "model",
        network,
        network.running,
        stack=network.stack,
        states=network.initial_state,
        names=network.state_names,
        steps=steps,
        given=given,
        said="scores",
    )


def _language_model(task: LanguageModel) -> list[Graph]:
    network = task.network
    return [
        _running(
            "model",
            network,
            network.following,
            stack=network.stack,
            states=network.stack.initial_state,
            names=network.stack.state_names,
            steps=lambda batch, time: torch.randint(0, task.vocabulary.size, (batch, time)),
            given="tokens",
            said="logits",
        )
    ]


def _tagging(task: Tagging) -> list[Graph]:
    network = task.network
    if network.reader is not None:
        raise ConfigError("a tagger that begins with a language model is not exported; train one without --from")
    reason = takes_any_time(network.stack)
    if reason is not None and not network.streamable:
        raise ConfigError(f"the model reads backwards too, so whole sentences, but {reason}")
    seen = task.words

    def example(batch: int, time: int) -> tuple[Tensor, ...]:
        words = torch.randint(0, len(seen.words) + 1, (batch, time))
        characters, lengths = torch.randint(1, len(seen.characters) + 3, (batch, time, 7)), torch.full((batch, time), 5)
        features = torch.randint(0, len(seen.features) + 1, (batch, time, len(FEATURES)))
        rest = tuple(network.initial_state(batch)) if network.streamable else (_lengths(batch, time),)
        return words, characters, lengths, features, *(part.clone() for part in rest)

    letters = {**TIME, 2: "characters"}
    inputs = {"words": TIME, "characters": letters, "character_lengths": TIME, "features": TIME}
    inputs |= {} if network.streamable else {"lengths": BATCH}
    state = dict.fromkeys(network.state_names if network.streamable else (), BATCH)
    return [Graph("model", TagScores(network), inputs, ("scores",), state, example, any_time=reason is None)]


def _translation(task: Translator) -> list[Graph]:
    network, source, target = task.network, task.source_vocabulary.size, task.target_vocabulary.size
    reason = takes_any_time(network.encoder)
    if reason is not None:
        raise ConfigError(f"the encoder reads whole sentences, but {reason}")

    def sentences(batch: int, time: int) -> tuple[Tensor, ...]:
        return torch.randint(2, source, (batch, time)), _lengths(batch, time)

    def step(batch: int, time: int) -> tuple[Tensor, ...]:
        with torch.no_grad():
            memory, state, _ = network.encode(*sentences(batch, time))
        return torch.randint(2, target, (batch, 1)), *memory, *(part.clone() for part in state)

    parts = len(step(1, 1)) - 4
    states = tuple(f"state{number}" for number in range(parts))
    memory = {name: {0: "batch", 1: "source"} for name in ("keys", "values", "mask")}
    encoder = Graph(
        "encoder",
        Encoder(network),
        {"tokens": {0: "batch", 1: "source"}, "lengths": BATCH},
        (*memory, *states),
        {},
        sentences,
    )
    decoder = Graph(
        "decoder",
        DecoderStep(network),
        {"token": BATCH, **memory},
        ("log_probabilities", "attention"),
        dict.fromkeys(states, BATCH),
        step,
    )
    return [encoder, decoder]


def _speech(task: SpeechRecognition) -> list[Graph]:
    network, bands = task.network, task.config.bands
    if not isinstance(network.head, CTCHead):
        raise ConfigError("a transducer is not exported; train a recogniser with --head ctc")

    def frames(batch: int, time: int) -> Tensor:
        return torch.randn(batch, time, bands)

    if not network.streamable:
        return [_whole(network, frames, stack=network.stack, given="frames", said="log_probabilities")]
    windows = tuple(name for name in network.state_names if not name.endswith("waiting"))
    places = [place for place, name in enumerate(network.state_names) if name in windows]
    count = len(network.front.stages)

    def read(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        values, after = network.front.whole_steps(inputs, state[:count])
        outputs, stack = network.stack(values, state[count:])
        return network.head.rows(outputs), (*after, *stack)

    def states(batch: int) -> State:
        begun = network.initial_state(batch)
        return tuple(begun[place] for place in places)

    return [
        _running(
            "model",
            network,
            read,
            stack=network.stack,
            states=states,
            names=windows,
            steps=frames,
            given="frames",
            said="log_probabilities",
            multiple=task.config.subsampling,
        )
    ]


def _forecasting(task: Forecasting) -> list[Graph]:
    network, views = task.network, task.views
    if network.head.sampled:
        raise ConfigError(f"a {task.config.distribution} forecaster draws its forecasts; only quantiles are exported")
    if len(network.stacks) > 1:
        raise ConfigError(f"the forecaster has {len(network.stacks)} members; only a single one is exported")
    reader = _running(
        "reader",
        network,
        lambda inputs, state: network(inputs, state=state),
        stack=network.stacks[0],
        states=network.stack.initial_state,
        names=network.stack.state_names,
        steps=lambda batch, time: torch.randn(batch, time, views.input_size),
        given="steps",
        said="hidden",
    )
    first, seen = np.zeros(1, dtype=np.int64), task.memory.values.lengths[:1]
    size = joined(views.ahead_of(task.memory, first, seen)).shape[1]
    head = Graph(
        "head",
        Quantiles(task),
        {"hidden": BATCH, "ahead": BATCH},
        ("quantiles",),
        {},
        lambda batch, _: (torch.randn(batch, network.stack.output_size), torch.randn(batch, size)),
    )
    return [reader, head]


MAKERS: tuple[tuple[type, Callable[[Any], list[Graph]]], ...] = (
    (LanguageModel, _language_model),
    (Tagging, _tagging),
    (Translator, _translation),
    (SpeechRecognition, _speech),
    (Forecasting, _forecasting),
)
