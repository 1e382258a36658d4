"""The layer contract; a cell belongs to a family of layers, overrides one or two methods and inherits time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.kernels import State
from rnnkit.layers.dropout import locked_dropout
from rnnkit.layers.options import check_options
from rnnkit.sequences import check_lengths, reverse_within_lengths, zero_padding


class Layer(nn.Module, ABC):
    """One recurrent layer in one direction: `outputs, state = layer(inputs, state, lengths)`.

    The state is a flat tuple of batch-first tensors that goes in and comes out and is never kept here. A step is a
    sequence of length 1. In eval mode a sequence run whole, in chunks, or one step at a time gives the same outputs.

    Args:
        input_size: Features of a step.
        hidden_size: Units.
        reverse: Run from each sequence's last valid step to its first.
        bias: Add learnt biases.
        input_dropout: Share in [0, 1) of the input features that training drops, the same ones at every step.
        variational_dropout: The same for the state's way into the recurrent matrix (Gal and Ghahramani 2016).
        weight_dropout: Share of the recurrent weights that training drops (Merity et al. 2018).
        zoneout: Share of the state's units that training keeps from the step before (Krueger et al. 2017).
        projection_size: Project the output and the recurrent state to this size (Sak et al. 2014).
        initialization: "orthogonal" recurrent and Glorot input matrices, or torch's "uniform".
        forget_bias: Initial bias of the forget gate; 1 unless given (Jozefowicz et al. 2015).
        learn_initial_state: Make the state before the first step a parameter.
        checkpoint_every: In training keep the state only every so many steps and recompute the rest.

    Raises:
        ConfigError: If an option does not apply to this layer, or a size or share is out of range.
    """

    family: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]
    projects: ClassVar[bool] = False
    forget_gate: ClassVar[int | None] = None
    streamable: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reverse: bool = False,
        bias: bool = True,
        input_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: float = 0.0,
        projection_size: int | None = None,
        initialization: Literal["orthogonal", "uniform"] = "orthogonal",
        forget_bias: float | None = None,
        learn_initial_state: bool = False,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ConfigError(f"{type(self).__name__} got {name}={size}; expected at least 1")
        options = {
            "bias": bias,
            "input_dropout": input_dropout,
            "variational_dropout": variational_dropout,
            "weight_dropout": weight_dropout,
            "zoneout": zoneout,
            "projection_size": projection_size,
            "initialization": initialization,
            "forget_bias": forget_bias,
            "learn_initial_state": learn_initial_state,
            "checkpoint_every": checkpoint_every,
        }
        defaults = signature(Layer).parameters
        check_options(type(self), {name: value for name, value in options.items() if value != defaults[name].default})
        self.input_size, self.hidden_size, self.reverse, self.bias = input_size, hidden_size, reverse, bias
        self.input_dropout, self.variational_dropout = input_dropout, variational_dropout
        self.weight_dropout, self.zoneout = weight_dropout, zoneout
        self.projection_size, self.initialization, self.forget_bias = projection_size, initialization, forget_bias
        self.output_size = projection_size or hidden_size
        self.checkpoint_every = checkpoint_every
        self.initial = nn.ParameterList(
            [nn.Parameter(torch.zeros(size)) for size in self.state_sizes()] if learn_initial_state else []
        )
        self.define()
        self.reset_parameters()

    def state_sizes(self) -> tuple[int, ...]:
        """Return the size of each state part; the first is what a projection shrinks."""
        return (self.output_size, *(self.hidden_size for _ in self.state_names[1:]))

    def define(self) -> None:
        """Make the layer's own parameters; the sizes are set. Override to add some."""

    def reset_parameters(self) -> None:
        """Draw the parameters anew. Override for parameters made in `define` that do not initialise themselves."""

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step.

        Args:
            batch: Number of sequences.

        Returns:
            (batch, size) for each of `state_names`: zeros, or the learnt ones.
        """
        if len(self.initial):
            return tuple(part.expand(batch, -1) for part in self.initial)
        like = next(self.parameters())
        return tuple(like.new_zeros(batch, size) for size in self.state_sizes())

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run the layer over a chunk of sequences, continuing from `state`.

        Args:
            inputs: (batch, time, input_size).
            state: As returned by the previous call or `initial_state`.
            lengths: (batch,) valid steps in this chunk; None means all of them.

        Returns:
            Outputs (batch, time, output_size), zero past each length, and the state after each sequence's last valid
            step (its first, in reverse). A length of 0 passes the state through.

        Raises:
            ShapeError: If `inputs`, `state` or `lengths` do not have these shapes.
        """
        batch, time = self._check_inputs(inputs)
        state = self.initial_state(batch) if state is None else self._check_state(state, batch)
        if lengths is not None:
            lengths = check_lengths(lengths.to(inputs.device), batch=batch, time=time)
        inputs = zero_padding(inputs, lengths)
        if self.reverse:
            inputs = reverse_within_lengths(inputs, lengths)
        inputs = locked_dropout(inputs, self.input_dropout, training=self.training)
        outputs, state = self.scan(inputs, state, lengths)
        if self.reverse:
            outputs = reverse_within_lengths(outputs, lengths)
        return zero_padding(outputs, lengths), state

    @abstractmethod
    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run over time, first step first; shapes as in `forward`, whatever past each length."""

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.input_size}, {self.hidden_size}" + (", reverse=True" if self.reverse else "")

    def _check_inputs(self, inputs: Tensor) -> tuple[int, int]:
        if inputs.dim() != 3 or inputs.shape[2] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__} got inputs {tuple(inputs.shape)}; "
                f"expected (batch, time, {self.input_size}): input_size is {self.input_size}."
            )
        return inputs.shape[0], inputs.shape[1]

    def _check_state(self, state: State, batch: int) -> State:
        got = [tuple(part.shape) for part in state] if isinstance(state, Sequence) else type(state).__name__
        expected = [(batch, size) for size in self.state_sizes()]
        if got != expected:
            raise ShapeError(
                f"{type(self).__name__} got state {got}; expected a tuple of {expected} for {self.state_names}"
            )
        return tuple(state)
