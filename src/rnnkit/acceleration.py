"""Somebody else's model on our kernels: the recurrent modules of torch.nn in it, with their own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnkit.kernels import GatedScan, State, gated_scan
from rnnkit.kernels.scan import Update
from rnnkit.layers import GRU, LSTM, RNN, ReluRNN
from rnnkit.sequences import reverse_within_lengths

UPDATES: dict[str, Update] = {
    name: partial(layer.update, None)  # it reads nothing of the layer
    for name, layer in {"rnn-tanh": RNN, "rnn-relu": ReluRNN, "lstm": LSTM, "gru": GRU}.items()
}


def accelerate(model: nn.Module) -> nn.Module:
    """Let every nn.RNN, nn.LSTM and nn.GRU in a model, and their cells, run on rnnkit's kernels, in place.

    The modules stay the same objects with the same parameters: optimisers, hooks, tied weights, state_dict, deepcopy
    and pickling go on working, and `decelerate` undoes it. What a module takes and returns is torch.nn's, packed
    sequences and unbatched input included. Subclasses of those modules are left alone. Where the kernels do not apply
    (another device, torch.func), torch's run.

    Args:
        model: Any module; it may be a recurrent one itself.

    Returns:
        The same module.

    Example:
        >>> import torch, rnnkit
        >>> model = rnnkit.accelerate(torch.nn.Sequential(torch.nn.LSTM(3, 5)))
        >>> isinstance(model[0], torch.nn.LSTM)
        True
    """
    for module in model.modules():
        if type(module) in ACCELERATED:
            module.__class__ = ACCELERATED[type(module)]
    return model


def decelerate(model: nn.Module) -> nn.Module:
    """Undo `accelerate`, in place.

    Args:
        model: Any module.

    Returns:
        The same module.
    """
    plain = {ours: theirs for theirs, ours in ACCELERATED.items()}
    for module in model.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
    return model


class _Accelerated(nn.RNNBase):
    """The surface of torch's recurrent modules over `gated_scan`, a call for each layer and direction."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run as the torch.nn module does.

        Args:
            input: (time, batch, input_size), batch first if `batch_first`, without batch, or a PackedSequence.
            hx: Initial state: (num_layers * directions, batch, size), for an LSTM two of them.

        Returns:
            Output and last state.
        """
        data = input.data if isinstance(input, PackedSequence) else input
        if data.device.type != "cpu" or torch._C._are_functorch_transforms_active():
            return super().forward(input, hx)
        if isinstance(input, PackedSequence):
            padded, lengths = pad_packed_sequence(input, batch_first=True)
            outputs, state = self._run(padded, hx, lengths)
            return _pack_like(input, outputs, lengths), state
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        if input.dim() == 2:
            parts = None if hx is None else tuple(part[:, None] for part in _parts(hx))
            outputs, state = self._run(input[None], self._whole(parts), None)
            return outputs[0], self._whole(tuple(part[:, 0] for part in _parts(state)))
        outputs, state = self._run(input if self.batch_first else input.transpose(0, 1), hx, None)
        return (outputs if self.batch_first else outputs.transpose(0, 1)), state

    def _run(self, inputs: Tensor, hx: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        # (batch, time, input_size) -> (batch, time, directions * output_size), state as torch has it
        parts = self._initial(inputs) if hx is None else _parts(hx)
        self._check(inputs, hx)
        states: list[State] = list(zip(*(_each(part) for part in parts), strict=True))
        values, last = inputs, []
        directions = 2 if self.bidirectional else 1
        for depth in range(self.num_layers):
            results = [
                self._scan(values, states[depth * directions + way], lengths, depth, reverse=bool(way))
                for way in range(directions)
            ]
            values = results[0][0] if directions == 1 else torch.cat([outputs for outputs, _ in results], -1)
            last += [state for _, state in results]
            if self.dropout and depth + 1 < self.num_layers:
                values = dropout(values, self.dropout, self.training)
        return values, self._whole(tuple(map(_together, zip(*last, strict=True))))

    def _scan(
        self, inputs: Tensor, state: State, lengths: Tensor | None, depth: int, *, reverse: bool
    ) -> tuple[Tensor, State]:
        suffix = f"_l{depth}" + ("_reverse" if reverse else "")
        formula = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn-tanh", "RNN_RELU": "rnn-relu"}[self.mode]
        inputs = reverse_within_lengths(inputs, lengths) if reverse else inputs
        outputs, state = _scan(self, formula, inputs, state, lengths, suffix)
        return (reverse_within_lengths(outputs, lengths) if reverse else outputs), state

    def _initial(self, inputs: Tensor) -> State:
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.mode == "LSTM")
        return tuple(inputs.new_zeros(count, inputs.shape[0], size) for size in sizes)

    def _check(self, inputs: Tensor, hx: Any) -> None:
        time_first = inputs if self.batch_first else inputs.transpose(0, 1)
        self.check_input(time_first, None)
        if hx is not None:
            self.check_forward_args(time_first, hx, None)

    def _whole(self, parts: State | None) -> Any:
        return parts if parts is None or self.mode == "LSTM" else parts[0]


class _AcceleratedCell(nn.RNNCellBase):
    """The surface of torch's cells over `gated_scan`: a sequence of one step."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run as the torch.nn module does.

        Args:
            input: (batch, input_size) or (input_size,).
            hx: Initial state, (batch, hidden_size) or (hidden_size,), for an LSTM two of them.

        Returns:
            The new state.
        """
        parts = 2 if isinstance(self, nn.LSTMCell) else 1
        state = (input.new_zeros(*input.shape[:-1], self.hidden_size),) * parts if hx is None else _parts(hx)
        shapes = [(*input.shape[:-1], self.hidden_size)] * parts
        fits = input.dim() in (1, 2) and input.shape[-1] == self.input_size and [part.shape for part in state] == shapes
        if not fits or input.device.type != "cpu" or torch._C._are_functorch_transforms_active():
            return super().forward(input, hx)  # torch's own errors for what does not fit
        one = input.dim() == 1
        rows = tuple(part[None] if one else part for part in state)
        _, last = _scan(self, self._formula(), input[None, None] if one else input[:, None], rows, None, "")
        last = tuple(part[0] if one else part for part in last)
        return last if parts == 2 else last[0]

    def _formula(self) -> str:
        if isinstance(self, nn.RNNCell):
            return f"rnn-{self.nonlinearity}"
        return "lstm" if isinstance(self, nn.LSTMCell) else "gru"


def _scan(  # noqa: PLR0917 - the order is that of `Layer.forward`
    module: nn.Module, formula: str, inputs: Tensor, state: State, lengths: Tensor | None, suffix: str
) -> tuple[Tensor, State]:
    def weight(name: str) -> Any:
        return getattr(module, name + suffix, None)

    return gated_scan(
        GatedScan(
            inputs=inputs,
            state=state,
            lengths=lengths,
            update=UPDATES[formula],
            formula=formula,
            input_weight=weight("weight_ih"),
            hidden_weight=weight("weight_hh"),
            input_bias=weight("bias_ih"),
            hidden_bias=weight("bias_hh"),
            projection=weight("weight_hr"),
        )
    )


def _each(whole: Tensor) -> Sequence[Tensor]:
    return [whole.squeeze(0)] if len(whole) == 1 else whole.unbind(0)  # one is what most modules have


def _together(parts: Sequence[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))


def _parts(hx: Any) -> State:
    return tuple(hx) if isinstance(hx, tuple | list) else (hx,)  # torch takes a list too


def _pack_like(packed: PackedSequence, outputs: Tensor, lengths: Tensor) -> PackedSequence:
    if packed.sorted_indices is not None:
        outputs, lengths = outputs.index_select(0, packed.sorted_indices), lengths[packed.sorted_indices.cpu()]
    data, _ = torch._VF._pack_padded_sequence(outputs, lengths, True)
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


class AcceleratedRNN(_Accelerated, nn.RNN):
    """nn.RNN on rnnkit's kernels."""


class AcceleratedLSTM(_Accelerated, nn.LSTM):
    """nn.LSTM on rnnkit's kernels."""


class AcceleratedGRU(_Accelerated, nn.GRU):
    """nn.GRU on rnnkit's kernels."""


class AcceleratedRNNCell(_AcceleratedCell, nn.RNNCell):
    """nn.RNNCell on rnnkit's kernels."""


class AcceleratedLSTMCell(_AcceleratedCell, nn.LSTMCell):
    """nn.LSTMCell on rnnkit's kernels."""


class AcceleratedGRUCell(_AcceleratedCell, nn.GRUCell):
    """nn.GRUCell on rnnkit's kernels."""


ACCELERATED: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: AcceleratedRNN,
    nn.LSTM: AcceleratedLSTM,
    nn.GRU: AcceleratedGRU,
    nn.RNNCell: AcceleratedRNNCell,
    nn.LSTMCell: AcceleratedLSTMCell,
    nn.GRUCell: AcceleratedGRUCell,
}
