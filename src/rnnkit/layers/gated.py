"""The family of layers whose state enters through a matrix."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnnkit.errors import ConfigError
from rnnkit.kernels import GatedScan, State, gated_scan
from rnnkit.kernels.scan import Update
from rnnkit.layers.base import Layer
from rnnkit.layers.dropout import draw_events, drop_weights, keep_mask

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0")  # torch.nn's names


class GatedLayer(Layer):
    """A layer whose state enters through a matrix: write `update`, and set `num_gates` and `state_names`.

    Parameters have torch.nn's names and shapes: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`,
    `weight_hr_l0` (the projection). `heads` > 1 makes the recurrent matrix block-diagonal, as many as units make it
    diagonal. `num_hidden_gates` is for a formula whose state reaches fewer gates than the inputs do.

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
    num_hidden_gates: ClassVar[int | None] = None
    heads: int = 1
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
            hidden_gates: (batch, num_hidden_gates * hidden_size), the same of state[0].
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

    @property
    def _hidden_gates(self) -> int:
        return self.num_gates if self.num_hidden_gates is None else self.num_hidden_gates

    def define(self) -> None:
        """Make the weights; call it first when overriding."""
        rows, hidden_rows = self.num_gates * self.hidden_size, self._hidden_gates * self.hidden_size
        if self.hidden_size % self.heads:
            raise ConfigError(
                f"{type(self).__name__} got hidden_size={self.hidden_size}; its {self.heads} heads must divide it"
            )
        if self.heads > 1 and self.projection_size:
            raise ConfigError(
                f"{type(self).__name__} got projection_size={self.projection_size}; its {self.heads} heads take none"
            )
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, self.input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(hidden_rows, self.output_size // self.heads))
        if self.bias:
            self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
            self.bias_hh_l0 = nn.Parameter(torch.empty(hidden_rows))
        if self.projection_size:
            self.weight_hr_l0 = nn.Parameter(torch.empty(self.projection_size, self.hidden_size))

    def recurrent_weight(self) -> Tensor:
        """Return the matrix through which the state enters, (hidden gates * hidden_size, output_size // heads).

        A formula that bounds it overrides this.
        """
        return self.weight_hh_l0

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
            for block in self.weight_hh_l0.detach().chunk(self._hidden_gates * self.heads):
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
            self.bias_hh_l0.chunk(self._hidden_gates)[self.forget_gate].zero_()

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
                hidden_weight=drop_weights(self.recurrent_weight(), self.weight_dropout, training=self.training),
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
