"""Layers on top of each other, in one direction or both."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.kernels import State
from rnnkit.layers.base import Layer
from rnnkit.layers.dropout import LockedDropout
from rnnkit.sequences import check_lengths, zero_padding

TORCH_MODULES: dict[str, type[nn.RNNBase]] = {"rnn-tanh": nn.RNN, "rnn-relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class Stack(nn.Module):
    """A stack of layers under the layer contract; its state is its layers' states one after the other.

    Args:
        layer: The class of every layer.
        input_size: Features of a step.
        hidden_size: Units of every layer.
        num_layers: Depth.
        bidirectional: Give every layer a second one that runs backwards; outputs are concatenated. Cannot stream.
        residual: Add a layer's input to its output where the sizes agree.
        norm: Normalise every layer's input from the second layer on: "layer" or "rms".
        dropout: Share in [0, 1) of the features dropped between layers in training, the same ones at every step.
        options: Options of every layer, by name (`zoneout`, `weight_dropout`, ...).

    Raises:
        ConfigError: If an option is unknown or does not apply to the layer.

    Example:
        >>> import torch, rnnkit
        >>> stack = Stack(rnnkit.LSTM, 3, 5, num_layers=2, options={"weight_dropout": 0.2})
        >>> outputs, state = stack(torch.zeros(2, 7, 3))
        >>> stack.state_names
        ('0.h', '0.c', '1.h', '1.c')
    """

    def __init__(
        self,
        layer: type[Layer],
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        norm: Literal["layer", "rms"] | None = None,
        dropout: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f"Stack got num_layers={num_layers}; expected at least 1")
        if not 0 <= dropout < 1:
            raise ConfigError(f"Stack got dropout={dropout}; expected [0, 1)")
        if norm is not None and norm not in NORMS:
            raise ConfigError(f"Stack got norm={norm!r}; expected {' or '.join(map(repr, NORMS))} or None")
        options = _check_names(layer, options or {})
        directions = (False, True) if bidirectional else (False,)
        self.bidirectional, self.residual = bidirectional, residual
        self.streamable = layer.streamable and not bidirectional
        self.layers, self.norms, size = nn.ModuleList(), nn.ModuleList(), input_size
        for depth in range(num_layers):
            row = nn.ModuleList(layer(size, hidden_size, reverse=reverse, **options) for reverse in directions)
            self.norms.append(NORMS[norm](size) if norm and depth else nn.Identity())
            self.layers.append(row)
            size = sum(one.output_size for one in _row(row))
        self.dropout = LockedDropout(dropout)
        self.input_size, self.hidden_size, self.output_size, self.num_layers = input_size, hidden_size, size, num_layers

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state parts: "0.h", or "0.reverse.h" in a bidirectional stack."""
        return tuple(f"{prefix}.{name}" for prefix, layer in self._named_layers() for name in layer.state_names)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step: (batch, size) for each of `state_names`."""
        return tuple(part for _, layer in self._named_layers() for part in layer.initial_state(batch))

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run the stack over a chunk of sequences, continuing from `state`.

        Args:
            inputs: (batch, time, input_size).
            state: As returned by the previous call or `initial_state`.
            lengths: (batch,) valid steps in this chunk; None means all of them.

        Returns:
            Outputs (batch, time, output_size), zero past each length, and the state after each sequence's last valid
            step.

        Raises:
            ShapeError: If `inputs`, `state` or `lengths` do not fit.
        """
        if inputs.dim() != 3:
            raise ShapeError(f"Stack got inputs {tuple(inputs.shape)}; expected (batch, time, {self.input_size})")
        parts = iter(self.initial_state(inputs.shape[0]) if state is None else self._check_count(state))
        if lengths is not None:
            lengths = check_lengths(lengths.to(inputs.device), batch=inputs.shape[0], time=inputs.shape[1])
        values, last = zero_padding(inputs, lengths), []  # a residual would carry the padding past the layers
        for depth, (row, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            below = norm(values)
            results = [layer(below, tuple(next(parts) for _ in layer.state_names), lengths) for layer in _row(row)]
            outputs = torch.cat([result for result, _ in results], -1)  # (batch, time, directions * hidden_size)
            last += [part for _, layer_state in results for part in layer_state]
            values = outputs + values if self.residual and outputs.shape == values.shape else outputs
            if depth + 1 < self.num_layers:
                values = self.dropout(values)
        return values, tuple(last)

    def load_torch(self, module: nn.RNNBase) -> Stack:
        """Copy the weights of a torch.nn.RNN, LSTM or GRU of the same sizes into this stack.

        Args:
            module: Any depth, directions, bias and projection; the numbers out are then the same.

        Returns:
            This stack.

        Raises:
            ConfigError: If the module is of another kind, size or depth.
        """
        expected = self.to_torch()
        theirs, ours = module.state_dict(), expected.state_dict()
        same = type(module) is type(expected) and getattr(module, "nonlinearity", None) == getattr(
            expected, "nonlinearity", None
        )
        if not same or {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in ours.items()}:
            raise ConfigError(f"load_torch got {module}; this stack is {expected}")
        with torch.no_grad():
            for depth, direction, layer in self._positions():
                for name, parameter in layer.named_parameters():
                    parameter.copy_(theirs[_torch_name(name, depth, direction)])
        return self

    def to_torch(self) -> nn.RNNBase:
        """Return a torch.nn.RNN, LSTM or GRU (batch first) with a copy of the weights, in the same mode and precision.

        Raises:
            ConfigError: If torch.nn has no such module (another formula, a norm, residuals, a learnt initial state).
        """
        first = _row(self.layers[0])[0]
        formula = getattr(first, "formula", "")
        plain = not self.residual and all(isinstance(norm, nn.Identity) for norm in self.norms)
        if formula not in TORCH_MODULES or not plain or len(first.initial) or first.zoneout:
            raise ConfigError(f"torch.nn has no module for this stack of {type(first).__name__}: compare its options")
        # torch's RNN and GRU refuse proj_size even where it is 0
        extra: dict[str, Any] = {"nonlinearity": formula.removeprefix("rnn-")} if formula.startswith("rnn") else {}
        extra |= {"proj_size": first.projection_size} if first.projection_size else {}
        module = TORCH_MODULES[formula](
            input_size=self.input_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bias=first.bias,
            batch_first=True,
            bidirectional=self.bidirectional,
            **extra,
        )
        like = next(first.parameters())
        module.to(device=like.device, dtype=like.dtype).train(self.training)
        weights = {
            _torch_name(name, depth, direction): parameter.detach()
            for depth, direction, layer in self._positions()
            for name, parameter in layer.named_parameters()
        }
        module.load_state_dict(weights)
        return module

    def _positions(self) -> list[tuple[int, int, Layer]]:
        return [(depth, way, layer) for depth, row in enumerate(self.layers) for way, layer in enumerate(_row(row))]

    def _named_layers(self) -> list[tuple[str, Layer]]:
        words = ("forward", "reverse")
        return [(f"{d}.{words[way]}" if self.bidirectional else f"{d}", layer) for d, way, layer in self._positions()]

    def _check_count(self, state: State) -> State:
        if len(state) != len(self.state_names):
            raise ShapeError(
                f"Stack got a state of {len(state)} parts; expected {len(self.state_names)}: {self.state_names}"
            )
        return state


def _row(row: nn.Module) -> list[Layer]:
    assert isinstance(row, nn.ModuleList)
    return list(row)  # type: ignore[arg-type]


def _torch_name(name: str, depth: int, direction: int) -> str:
    return name.removesuffix("0") + f"{depth}" + ("_reverse" if direction else "")


def _check_names(layer: type[Layer], options: Mapping[str, Any]) -> dict[str, Any]:
    known = [
        name for name in inspect.signature(Layer).parameters if name not in ("input_size", "hidden_size", "reverse")
    ]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{layer.__name__} has no option {name!r}{hint} Options: {', '.join(known)}")
    return dict(options)
