"""The layer contract, and the families a cell can belong to: override one or two methods, inherit time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from inspect import signature
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.kernels import DiagonalScan, GatedScan, State, diagonal_scan, gated_scan
from rnnkit.kernels.scan import Update
from rnnkit.layers.dropout import draw_events, drop_weights, keep_mask, locked_dropout
from rnnkit.layers.options import check_options
from rnnkit.sequences import check_lengths, reverse_within_lengths, valid_mask, zero_padding

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0")  # torch.nn's names


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
        got = [tuple(part.shape) for part in state] if isinstance(state, tuple) else type(state).__name__
        expected = [(batch, size) for size in self.state_sizes()]
        if got != expected:
            raise ShapeError(
                f"{type(self).__name__} got state {got}; expected a tuple of {expected} for {self.state_names}"
            )
        return state


class GatedLayer(Layer):
    """A layer whose state enters through a matrix: write `update`, and set `num_gates` and `state_names`.

    Parameters have torch.nn's names and shapes: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`,
    `weight_hr_l0` (the projection). `heads` > 1 makes the recurrent matrix block-diagonal.

    Example:
        >>> import torch, rnnkit
        >>> class CoupledLSTM(rnnkit.GatedLayer):
        ...     num_gates, state_names = 3, ("h", "c")
        ...
        ...     def update(self, input_gates, hidden_gates, state):
        ...         f, g, o = (input_gates + hidden_gates).chunk(3, dim=-1)
        ...         c = f.sigmoid() * state[1] + (1 - f.sigmoid()) * g.tanh()
        ...         h = o.sigmoid() * c.tanh()
        ...         return h, (h, c)
        >>> outputs, state = CoupledLSTM(3, 5)(torch.zeros(2, 7, 3), lengths=torch.tensor([7, 4]))
        >>> outputs.shape
        torch.Size([2, 7, 5])
    """

    family = "gated"
    num_gates: ClassVar[int]
    heads: ClassVar[int] = 1
    formula: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Forget the inherited name of a fused formula where `update` is another."""
        super().__init_subclass__()
        nearest = next(one for one in cls.__mro__ if one.__dict__.keys() & {"update", "reset_gate", "formula"})
        if "formula" not in nearest.__dict__:
            cls.formula = ""

    @abstractmethod
    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            input_gates: (batch, num_gates * hidden_size), the inputs through their matrix and bias.
            hidden_gates: (batch, num_gates * hidden_size), the same of state[0].
            state: (batch, size) each.

        Returns:
            Output (batch, hidden_size) and the new state; the same tensor as output and state[0] where they are one.
        """

    def reset_gate(self, input_gates: Tensor, hidden_gates: Tensor) -> Tensor:
        """Give what multiplies state[0] on its way into the last gate's product; for a layer where something does.

        Args:
            input_gates: As `update` gets them.
            hidden_gates: The same, but for the last gate, whose product comes after this.

        Returns:
            (batch, hidden_size).
        """
        raise NotImplementedError

    def define(self) -> None:
        """Make the weights; call it first when overriding."""
        rows = self.num_gates * self.hidden_size
        if self.hidden_size % self.heads:
            raise ConfigError(
                f"{type(self).__name__} got hidden_size={self.hidden_size}; its {self.heads} heads must divide it"
            )
        if self.heads > 1 and self.projection_size:
            raise ConfigError(
                f"{type(self).__name__} got projection_size={self.projection_size}; its {self.heads} heads take none"
            )
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, self.input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, self.output_size // self.heads))
        if self.bias:
            self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
            self.bias_hh_l0 = nn.Parameter(torch.empty(rows))
        if self.projection_size:
            self.weight_hr_l0 = nn.Parameter(torch.empty(self.projection_size, self.hidden_size))

    def reset_parameters(self) -> None:
        """Draw the weights: by `initialization`, the forget gate's bias apart."""
        own = [parameter for name, parameter in self.named_parameters(recurse=False) if name in WEIGHTS]
        if self.initialization == "uniform":
            bound = 1 / math.sqrt(self.hidden_size)
            for parameter in own:
                nn.init.uniform_(parameter, -bound, bound)
        else:
            for parameter in own:
                if parameter.dim() == 1:
                    nn.init.zeros_(parameter)
            for gate in self.weight_ih_l0.detach().chunk(self.num_gates):
                nn.init.xavier_uniform_(gate)
            for block in self.weight_hh_l0.detach().chunk(self.num_gates * self.heads):
                nn.init.orthogonal_(block)
            if self.projection_size:
                nn.init.orthogonal_(self.weight_hr_l0)
        self._set_forget_bias()

    def _set_forget_bias(self) -> None:
        if self.forget_gate is None or not self.bias or (self.initialization == "uniform" and self.forget_bias is None):
            return
        value = 1.0 if self.forget_bias is None else self.forget_bias
        with torch.no_grad():
            self.bias_ih_l0.chunk(self.num_gates)[self.forget_gate].fill_(value)
            self.bias_hh_l0.chunk(self.num_gates)[self.forget_gate].zero_()

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Hand the call to the kernels, with this call's dropout masks drawn."""
        batch, time = inputs.shape[:2]
        return gated_scan(
            GatedScan(
                inputs=inputs,
                state=state,
                lengths=lengths,
                update=self.update,
                formula=self.formula,
                input_weight=self.weight_ih_l0,
                hidden_weight=drop_weights(self.weight_hh_l0, self.weight_dropout, training=self.training),
                input_bias=self.bias_ih_l0 if self.bias else None,
                hidden_bias=self.bias_hh_l0 if self.bias else None,
                parameters=tuple(self._read_by_update().values()),
                bind=self._bind,
                reset_gate=None if type(self).reset_gate is GatedLayer.reset_gate else self.reset_gate,
                heads=self.heads,
                projection=self.weight_hr_l0 if self.projection_size else None,
                hidden_mask=self._hidden_mask(batch),
                zoneout=self._zoneout(batch, time, state),
                checkpoint_every=self.checkpoint_every if self.training else None,
            )
        )

    def _read_by_update(self) -> dict[str, Tensor]:
        own = self.named_parameters()
        return {name: value for name, value in own if name not in WEIGHTS and not name.startswith("initial.")}

    def _bind(self, tensors: tuple[Tensor, ...]) -> Update:
        module = _UpdateModule(self)
        values = {f"layer.{name}": tensor for name, tensor in zip(self._read_by_update(), tensors, strict=True)}
        return lambda *arguments: functional_call(module, values, arguments)

    def _hidden_mask(self, batch: int) -> Tensor | None:
        if not self.training or self.variational_dropout == 0:
            return None
        return keep_mask(self.weight_hh_l0, (batch, self.output_size), self.variational_dropout)

    def _zoneout(self, batch: int, time: int, state: State) -> tuple[Tensor, ...]:
        if self.zoneout == 0:
            return ()
        sizes = [part.shape[-1] for part in state]
        if self.training:  # in the order in which the steps are computed
            drawn = (draw_events(state[0], (time, batch, size), self.zoneout) for size in sizes)
            return tuple(events.transpose(0, 1) for events in drawn)
        return tuple(state[0].new_full((), self.zoneout).expand(batch, time, size) for size in sizes)


class _UpdateModule(nn.Module):
    """A layer's `update` as a module, which `functional_call` can run on other parameters."""

    def __init__(self, layer: GatedLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer.update(input_gates, hidden_gates, state)


class DiagonalLayer(Layer):
    """A layer whose state is elementwise and linear in itself, h = a * h + b: write `define` and `coefficients`.

    Example:
        >>> import torch, rnnkit
        >>> class MinGRU(rnnkit.DiagonalLayer):  # Feng et al. 2024, arXiv 2410.01201
        ...     def define(self):
        ...         self.linear = torch.nn.Linear(self.input_size, 2 * self.hidden_size)
        ...
        ...     def coefficients(self, inputs, state):
        ...         z, candidate = self.linear(inputs).chunk(2, dim=-1)
        ...         return 1 - z.sigmoid(), z.sigmoid() * candidate, ()
        >>> outputs, (h,) = MinGRU(3, 5)(torch.zeros(2, 7, 3))
        >>> h.shape
        torch.Size([2, 5])
    """

    family = "diagonal"
    state_names = ("h",)

    @abstractmethod
    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute what does not depend on h, for all steps at once.

        Args:
            inputs: (batch, time, input_size).
            state: (batch, size) each.

        Returns:
            a and b (batch, time, hidden_size), and the new values of the state parts after h.
        """

    def readout(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Turn every h into an output; h itself unless overridden.

        Args:
            hidden: (batch, time, hidden_size).
            inputs: (batch, time, input_size).

        Returns:
            (batch, time, output_size).
        """
        return hidden

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Compute the coefficients, and let a row past its length keep its h (a = 1, b = 0)."""
        decay, drive, rest = self.coefficients(inputs, state)
        decay = decay.expand_as(drive)
        if lengths is not None:
            alive = valid_mask(lengths, inputs.shape[1])[..., None]  # (batch, time, 1)
            decay = torch.where(alive, decay, decay.new_ones(()))
            drive = torch.where(alive, drive, drive.new_zeros(()))
        hidden = diagonal_scan(DiagonalScan(decay=decay, drive=drive, initial=state[0]))
        last = hidden[:, -1] if hidden.shape[1] else state[0]
        return self.readout(hidden, inputs), (last, *rest)
