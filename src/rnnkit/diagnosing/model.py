"""What a trained model's layers do on its own data, or on a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.diagnosing.advice import advise
from rnnkit.diagnosing.gates import GateUse, gate_uses, walk
from rnnkit.diagnosing.reach import Reach, gradient_reach
from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.layers import GatedLayer, Layer, Stack
from rnnkit.tasks import Task

SEQUENCES = 16  # that are looked at


@dataclass(frozen=True)
class Read:
    """What a module read.

    Attributes:
        inputs: (batch, time, size).
        state: Before it; None is the initial one.
        lengths: (batch,), None where all steps are valid.
    """

    inputs: Tensor
    state: State | None
    lengths: Tensor | None


@dataclass(frozen=True)
class LayerUse:
    """A layer with named gates, by its place, and how they are used."""

    name: str
    gates: tuple[GateUse, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        reaches: Of each stack, by its name in the network.
        layers: Those with gates that have a name.
        advice: Sentences, each with its evidence.
    """

    reaches: Mapping[str, Reach]
    layers: tuple[LayerUse, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """A text as a model reads it.

    Attributes:
        steps: The tokens or words, as they are shown.
        layers: By its place, of each layer that reads them: (steps, units) of each gate, state and of the output.
    """

    steps: tuple[str, ...]
    layers: Mapping[str, Mapping[str, np.ndarray]]


def diagnose(task: Task, data: Any, records: Sequence[Mapping[str, Any]] = ()) -> Diagnosis:
    """Look at a model as it reads its data.

    Args:
        task: The model.
        data: Encoded, as `task.load_data` returns it.
        records: Of the run's log.

    Returns:
        The diagnosis.
    """
    with reading_kept(task.network, longest=True) as kept, torch.random.fork_rng():
        task.quick_score(data)
    named = dict(task.network.named_modules())
    longest = {name: _some_rows(reads[0]) for name, reads in kept.items()}
    reaches = {
        name or "stack": gradient_reach(module, read.inputs, read.lengths, state=read.state)
        for name, read in longest.items()
        if isinstance(module := named[name], Stack) and read.inputs.shape[1] > 1
    }
    layers = tuple(
        LayerUse(name, tuple(uses))
        for name, read in longest.items()
        if isinstance(module := named[name], GatedLayer)
        and (uses := gate_uses(module, read.inputs, read.lengths, state=read.state))
    )
    return Diagnosis(reaches, layers, tuple(advise(reaches, {one.name: one.gates for one in layers}, records)))


def look_at(task: Task, text: str) -> Look:
    """Look at the layers of a model as it reads a text.

    Args:
        task: The model.
        text: What to read.

    Returns:
        The look.

    Raises:
        ConfigError: If the model reads no text, or this one is empty.
    """
    steps = task.steps_of(text)
    if not (text and steps):  # some tasks read an empty text as one unknown word
        raise ConfigError("the text holds nothing to read; expected some words")
    with reading_kept(task.network) as kept:
        task.predict([task.parse_input(text)])
    named, layers = dict(task.network.named_modules()), {}
    for name, reads in kept.items():
        module, inputs = named[name], _joined(reads)
        if isinstance(module, Layer) and inputs is not None and 0 <= inputs.shape[1] - len(steps) <= 1:
            found = walk(module, inputs, state=reads[0].state)
            layers[name] = {part: values[0, -len(steps) :] for part, values in found.items()}
    if not layers:
        raise ConfigError(f"no layer reads the {len(steps)} steps of the text alone; expected one line")
    return Look(tuple(steps), layers)


def _joined(reads: Sequence[Read]) -> Tensor | None:
    """Put one after the other what a module read of a single sequence: a boundary before the text may be the first."""
    return torch.cat([read.inputs for read in reads], 1) if all(len(read.inputs) == 1 for read in reads) else None


def _some_rows(read: Read) -> Read:
    """Take the first rows; clones, because what is made in inference mode cannot be differentiated."""
    return Read(
        read.inputs[:SEQUENCES].clone(),
        None if read.state is None else tuple(part[:SEQUENCES].clone() for part in read.state),
        None if read.lengths is None else read.lengths[:SEQUENCES].clone(),
    )


@contextmanager
def reading_kept(network: nn.Module, *, longest: bool = False) -> Iterator[dict[str, list[Read]]]:
    """Keep what the stacks and layers of a network read within it.

    Args:
        network: Any.
        longest: Keep of each only what has the most steps.

    Yields:
        What each read, call after call, by its name in the network; filled while the network runs.
    """
    kept: dict[str, list[Read]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], words: dict[str, Any]) -> None:
            del module
            inputs, state, lengths, *_ = (*arguments, None, None, None)
            state, lengths = words.get("state", state), words.get("lengths", lengths)
            if longest and name in kept:
                if inputs.shape[1] <= kept[name][0].inputs.shape[1]:
                    return
                del kept[name]
            kept.setdefault(name, []).append(
                Read(
                    inputs.detach().float().clone(),
                    None if state is None else tuple(part.detach().clone() for part in state),
                    None if lengths is None else lengths.clone(),
                )
            )

        return hook

    modules = {name: one for name, one in network.named_modules() if isinstance(one, Stack | Layer)}
    handles = [one.register_forward_pre_hook(keep(name), with_kwargs=True) for name, one in modules.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
