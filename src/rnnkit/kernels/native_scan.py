"""One call of the gated scan on the C++ core: its buffers, its layout, and the products around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnkit.kernels.core import core
from rnnkit.kernels.formulas import Compiled, formula_of, parameter_addresses
from rnnkit.kernels.layout import even_layout, ragged_layout
from rnnkit.kernels.scan import GatedScan, State
from rnnkit.kernels.tracing import read_parameters

ROWS_A_THREAD = 4  # of a tile, at least
FEWEST_UNITS_TO_SPLIT = 128  # below, a step is shorter than the threads' meeting after it


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class NativeScan:
    """One call laid out for C++: forward, and backward from what the forward pass recorded.

    Under autocast the products are of bfloat16, their sums, the gates and the states float32.
    """

    inputs: Tensor
    input_gates: Any  # of these, a Tensor or None
    gates: Any
    hidden_gates: Any
    unprojected: Any
    outputs: Any
    states: list[Tensor]

    def __init__(self, call: GatedScan, *, recording: bool) -> None:
        self.call, self.recording = call, recording
        found = formula_of(call)
        assert not isinstance(found, str)
        self.program = found if isinstance(found, Compiled) else None
        self.formula = found.formula if isinstance(found, Compiled) else found
        self.num_gates = self.formula.joined + self.formula.apart + self.formula.lone
        self.size = call.input_weight.shape[0] // self.num_gates
        self.joined = self.formula.joined * self.size
        self.dtype = call.hidden_weight.dtype
        self.brief = torch.is_autocast_enabled("cpu")
        name = "bfloat16" if self.brief else str(self.dtype).removeprefix("torch.")
        self.way = getattr(core.Way, name)
        groups, self.split_units, self.threads = self._share()
        batch, steps = call.inputs.shape[:2]
        if call.lengths is None:
            self.layout = even_layout(batch, steps, groups)
        else:
            self.layout = ragged_layout(call.lengths, steps, groups)
        self.input_weight, self.hidden_weight = self._own(call.input_weight), self._own(call.hidden_weight)
        self.input_bias = None if call.input_bias is None else self._own(call.input_bias)
        self.hidden_bias = None if call.hidden_bias is None else self._own(call.hidden_bias)
        self.projection = None if call.projection is None else self._own(call.projection)
        self.mask = None if call.hidden_mask is None else self._own(self.layout.arrange(call.hidden_mask))
        self.keep = [self._own(self.layout.pack(part)) for part in call.zoneout]
        self.parameters = [self._own(parameter) for parameter in read_parameters(call)] if self.program else []

    def _share(self) -> tuple[int, bool, int]:
        # into how many groups of sequences, or whether the units are split instead, and among how many threads
        batch, threads = self.call.inputs.shape[0], torch.get_num_threads()
        if threads == 1:
            return 1, False, 1
        if batch >= 2 * ROWS_A_THREAD:
            groups = min(threads, batch // ROWS_A_THREAD)
            return groups, False, groups
        if self.program:  # it may read all units of a row
            return 1, False, 1
        panels, rest = divmod(self.size, core.panel_columns(self.way))
        if self.call.projection is None and rest == 0 and self.size >= FEWEST_UNITS_TO_SPLIT and panels > 1:
            return 1, True, min(threads, panels)
        return 1, False, 1

    def low(self, tensor: Tensor) -> Tensor:
        """Turn a factor of a product into the numbers that are multiplied."""
        return tensor.to(torch.bfloat16) if self.brief else tensor

    def _own(self, tensor: Tensor) -> Tensor:
        fits = (
            tensor.dtype == self.dtype and tensor.is_contiguous()
        )  # asking costs a tenth of two calls that do nothing
        return tensor if fits else tensor.to(self.dtype).contiguous()

    def _empty(self, rows: int, columns: int) -> Tensor:
        return torch.empty(rows, columns, dtype=self.dtype)

    def forward(self) -> tuple[Tensor, State]:
        """Run over time.

        Returns:
            Outputs (batch, time, output_size), 0 past each length, and the last state.
        """
        call, layout = self.call, self.layout
        self.inputs = self._values()
        self.input_gates = self._project_inputs()
        rows = layout.total if self.recording else layout.sequences
        self.gates = self.hidden_gates = self.unprojected = self.outputs = None
        if self.joined:  # in the place of what the inputs gave, where both are kept of every step
            self.gates = self.input_gates if self.recording else self._empty(rows, self.input_gates.shape[1])
        if self.formula.apart:
            self.hidden_gates = self._empty(rows, self.formula.apart * self.size)
        if self.projection is not None:
            self.unprojected = self._empty(rows, self.size)
        if self.program is not None and self.program.own_output:
            self.outputs = self._empty(layout.total, self.size)
        self.states = [self._states(number, part.shape[1]) for number, part in enumerate(call.state)]
        native, initial = self._describe(), [self._own(layout.arrange(part)) for part in call.state]
        native.initial = [part.data_ptr() for part in initial]
        if self.joined:
            native.joined = self._matrix(self.hidden_weight, 0, self.joined)
        if self.formula.apart:
            native.apart = self._matrix(self.hidden_weight, self.joined, self.formula.apart * self.size)
        if self.projection is not None:
            native.projection = self._matrix(self.projection, 0, len(self.projection))
        core.gated_scan(native)
        hidden, *rest = self.states
        last = (layout.last_states(hidden), *(self._last(part) for part in rest))
        return layout.unpack(hidden[layout.sequences :] if self.outputs is None else self.outputs), last

    def _values(self) -> Tensor:
        return self.low(self.layout.pack(self.call.inputs)).contiguous()  # (R, input_size)

    def _matrix(self, weight: Tensor, first: int, rows: int) -> Any:
        columns = weight.shape[1]
        return core.Packed(weight.data_ptr() + first * columns * weight.element_size(), rows, columns, columns, False)

    @staticmethod
    def _transposed(weight: Tensor) -> Any:
        rows, columns = weight.shape
        return core.Packed(weight.data_ptr(), columns, rows, columns, True)

    def _project_inputs(self) -> Tensor:
        rows, columns = self.inputs.shape
        if self.brief:
            return self._project_briefly()
        gates = self._empty(rows, len(self.input_weight))
        core.dense_product(
            self.dtype == torch.float64,
            rows,
            columns,
            len(self.input_weight),
            self.inputs.data_ptr(),
            self.input_weight.data_ptr(),
            columns,
            1,
            _address(self.input_bias),
            _address(self.hidden_bias),
            self.joined,
            gates.data_ptr(),
            torch.get_num_threads(),
        )
        return gates  # (R, gates * size)

    def _project_briefly(self) -> Tensor:
        bias = self.input_bias
        if self.hidden_bias is not None and self.joined:  # where both parts are only added, so are their biases
            added = self.hidden_bias
            if self.formula.apart:
                added = added.clone()
                added[self.joined :] = 0
            bias = added if bias is None else bias + added
        return linear(self.inputs, self.input_weight, bias).to(self.dtype)

    def _states(self, number: int, size: int) -> Tensor:
        every_step = number == 0 or self.recording or self.program is not None
        return self._empty(self.layout.sequences + (self.layout.total if every_step else 0), size)

    def _last(self, states: Tensor) -> Tensor:
        every_step = self.recording or self.program is not None
        return self.layout.last_states(states) if every_step else self.layout.disarrange(states)

    def _describe(self) -> Any:
        native, layout = core.GatedScan(), self.layout
        native.formula, native.way = self.formula.native, self.way
        steps = (part.data_ptr() for part in (layout.first, layout.count, layout.starts))
        native.set_steps(len(layout.starts), layout.steps, *steps)
        native.sequences, native.total = layout.sequences, layout.total
        native.size, native.output_size = self.size, self.states[0].shape[1]
        native.joined_gates, native.apart_gates = self.formula.joined, self.formula.apart
        native.lone_gates = self.formula.lone
        native.num_states = len(self.states)
        native.inputs, native.outputs = _address(self.input_gates), _address(self.outputs)
        native.gates, native.hidden_gates = _address(self.gates), _address(self.hidden_gates)
        native.unprojected = _address(self.unprojected)
        if self.hidden_bias is not None and not self.formula.lone:
            native.apart_bias = self.hidden_bias.data_ptr() + self.joined * self.hidden_bias.element_size()
        if self.program:
            native.set_program(self.program.forward)
            addresses = parameter_addresses(self.parameters, self.program.slots, self.size)
            native.parameters, native.num_parameters = addresses, len(addresses)
        native.states = [part.data_ptr() for part in self.states]
        native.mask, native.keep = _address(self.mask), [part.data_ptr() for part in self.keep]
        native.recording, native.split_units, native.threads = self.recording, self.split_units, self.threads
        return native

    def give_up(self) -> list[Tensor | None]:
        """Hand over what was recorded, so that autograd keeps it and frees it."""
        # a compiled formula reads what the input gave to the gates once
        input_gates = self.input_gates if self.program and not self.formula.joined else None
        kept = [self.inputs, input_gates, self.gates, self.hidden_gates, self.unprojected, self.outputs, *self.states]
        self.take_back([None] * len(kept))
        return kept

    def take_back(self, kept: Sequence[Any]) -> None:
        """Undo `give_up`."""
        self.inputs, self.input_gates, self.gates, self.hidden_gates, self.unprojected, self.outputs, *rest = kept
        self.states = rest

    def recorded(self) -> list[Tensor | None]:
        """Return what `forward` recorded for a formula known by name, besides its arguments."""
        return [self.gates, self.hidden_gates, self.unprojected, *self.states]

    def replay(self, recorded: Sequence[Any]) -> None:
        """Stand where another object's `forward` of the same call stood, given what it `recorded`."""
        self.inputs = self._values()
        self.gates, self.hidden_gates, self.unprojected, *self.states = recorded
        self.input_gates = self.outputs = None

    def backward(self, outputs: Tensor, last: State, *, by_inputs: bool, again: bool = True) -> dict[str, Any]:
        """Run back through time.

        Args:
            outputs: (batch, time, output_size), gradient.
            last: Gradient of the last state.
            by_inputs: Whether the inputs want a gradient too.
            again: Whether it may be called once more; else the gradients take the place of the recorded gates.

        Returns:
            Gradients of the tensors of the call, by their names.
        """
        call, layout = self.call, self.layout
        by_output = self._own(layout.pack(outputs))
        # copies: they turn into the gradients of the initial states
        states = [self._own(layout.arrange(part)).clone() for part in last]
        gates, hidden_gates = self.gates, self.hidden_gates
        if again or self.program is not None:
            gates = self._empty(layout.total, self.num_gates * self.size)
            hidden_gates = None if hidden_gates is None else torch.empty_like(hidden_gates)
        if self.formula.resets:
            hidden_gates = None  # the same as the gradient of the input's part
        projected = None if self.projection is None else torch.empty_like(by_output)
        native = core.GatedScanBackward()
        native.forward = self._describe()
        resets = self.formula.resets
        if not self.formula.lone:
            native.hidden = self._transposed(self.hidden_weight[: self.joined] if resets else self.hidden_weight)
        if resets:
            native.apart = self._transposed(self.hidden_weight[self.joined :])
        if self.projection is not None:
            native.projection = self._transposed(self.projection)
        native.outputs, native.states = by_output.data_ptr(), [part.data_ptr() for part in states]
        native.gates, native.hidden_gates = gates.data_ptr(), _address(hidden_gates)
        native.projected = _address(projected)
        sums = self._parameter_sums(native)
        core.gated_scan_backward(native)
        low_gates = self.low(gates)
        found = self._weight_gradients(gates, low_gates, hidden_gates, projected)
        if by_inputs:
            found["inputs"] = layout.unpack(self._input_gradient(low_gates)).to(call.inputs.dtype)
        totals = [sum_of.sum(0) for sum_of in sums]
        found["parameters"] = [total.view_as(p) for total, p in zip(totals, call.parameters, strict=False)]
        if self.formula.lone:
            found["hidden_weight"], *bias = totals[len(call.parameters) :]
            found["hidden_weight"] = found["hidden_weight"].view_as(call.hidden_weight)
            found["hidden_bias"] = bias[0] if bias else None
        found["state"] = [layout.disarrange(part) for part in states]
        return found

    def _parameter_sums(self, native: Any) -> list[Tensor]:
        # one sum a group, because groups run at the same time
        if not self.program:
            return []
        groups, sizes = len(self.layout.starts), [parameter.numel() for parameter in self.parameters]
        native.set_program(self.program.backward)
        sums = torch.zeros(groups, sum(sizes), dtype=self.dtype)
        parts = list(sums.split(sizes, 1))
        native.parameters = parameter_addresses(parts, self.program.slots, self.size)
        native.parameter_stride = sum(sizes)
        return parts

    def _weight_gradients(
        self, gates: Tensor, low_gates: Tensor, hidden_gates: Tensor | None, projected: Tensor | None
    ) -> dict[str, Any]:
        call, joined = self.call, self.joined
        if self.formula.lone:
            return self._input_weight_gradients(gates, low_gates)
        hidden = self.layout.states_before(self.states[0])
        if self.mask is not None:
            hidden = hidden * self._mask_rows()
        hidden = self.low(hidden)
        by_hidden, by_input = torch.empty_like(self.hidden_weight), torch.empty_like(self.input_weight)
        total, apart_total = gates.new_empty(gates.shape[1]), gates.new_empty(gates.shape[1] - joined)
        if joined:
            rights = [(hidden, by_hidden[:joined]), (self.inputs, by_input[:joined])]
            self._outer(gates[:, :joined], low_gates[:, :joined], rights, total[:joined])
        if hidden_gates is not None:
            self._outer(gates[:, joined:], low_gates[:, joined:], [(self.inputs, by_input[joined:])], total[joined:])
            self._outer(hidden_gates, self.low(hidden_gates), [(hidden, by_hidden[joined:])], apart_total)
        if self.formula.resets:
            entered = self.low(self.hidden_gates)
            rights = [(entered, by_hidden[joined:]), (self.inputs, by_input[joined:])]
            self._outer(gates[:, joined:], low_gates[:, joined:], rights, total[joined:])
            apart_total = total[joined:]
        found: dict[str, Any] = {"input_weight": by_input, "hidden_weight": by_hidden}
        if call.input_bias is not None:
            found["input_bias"] = total
        if call.hidden_bias is not None:
            found["hidden_bias"] = torch.cat([total[:joined], apart_total])
        if projected is not None and self.projection is not None:
            found["projection"] = by_projection = torch.empty_like(self.projection)
            self._outer(projected, self.low(projected), [(self.low(self.unprojected), by_projection)])
        return found

    def _input_weight_gradients(self, gates: Tensor, low_gates: Tensor) -> dict[str, Any]:
        by_input, total = torch.empty_like(self.input_weight), gates.new_empty(gates.shape[1])
        self._outer(gates, low_gates, [(self.inputs, by_input)], total)
        return {"input_weight": by_input, "input_bias": None if self.call.input_bias is None else total}

    def _outer(
        self, left: Tensor, low_left: Tensor, rights: list[tuple[Tensor, Tensor]], total: Tensor | None = None
    ) -> None:
        # left^T right over all steps, for each right into what stands beside it; and the sum of left itself
        if self.brief:
            for right, sums in rights:
                sums.copy_(low_left.t() @ right)
            if total is not None:
                total.copy_(left.sum(0))
            return
        core.outer_product(
            self.dtype == torch.float64,
            len(left),
            left.data_ptr(),
            left.stride(0),
            left.shape[1],
            _address(total),
            [(right.data_ptr(), right.stride(0), right.shape[1], sums.data_ptr()) for right, sums in rights],
            torch.get_num_threads(),
        )

    def _input_gradient(self, gates: Tensor) -> Tensor:
        if self.brief:
            return gates @ self.low(self.input_weight)
        rows, columns = gates.shape
        sums = self._empty(rows, self.input_weight.shape[1])
        core.dense_product(
            self.dtype == torch.float64,
            rows,
            columns,
            sums.shape[1],
            gates.data_ptr(),
            self.input_weight.data_ptr(),
            1,
            sums.shape[1],
            0,
            0,
            0,
            sums.data_ptr(),
            torch.get_num_threads(),
        )
        return sums

    def _mask_rows(self) -> Tensor:
        layout, mask = self.layout, self.mask
        assert mask is not None
        if layout.rows is None:
            return mask[None].expand(layout.steps, *mask.shape).reshape(layout.total, -1)
        return layout.disarrange(mask).index_select(0, layout.rows // layout.steps)
