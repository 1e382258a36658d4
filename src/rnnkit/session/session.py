"""A stack as a session: weights packed once, the state inside, a step in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.kernels import State
from rnnkit.kernels.core import FORMULAS, MISSING, core
from rnnkit.layers import GatedLayer, Layer, Stack
from rnnkit.session.weights import address, as_float, is_native

WAYS = {"float32": "float32", "bfloat16": "bfloat16_weights", "int8": "int8"}


class Session:
    """Advance live sequences step by step, with weights packed once and nothing allocated on the way.

    The weights are copied: later changes of the stack do not reach the session. A session belongs to one thread at a
    time. A stack that the C++ kernels cannot run runs in torch, and `reason` says why.

    Args:
        stack: A Stack, or a layer, of one direction; it runs as in eval mode.
        dtype: Of the weights: "float32"; "bfloat16", which halves what a step reads; "int8", which quarters it, each
            row of weights and of values at its own scale. Sums, gates and states are float32 with all of them.
        rows: Sequences that advance together.
        head: An output layer on top of the stack.

    Raises:
        ConfigError: If the stack reads backwards, or `dtype` or `rows` is none of these.

    Example:
        >>> import numpy as np, rnnkit
        >>> session = rnnkit.Session(rnnkit.LSTM(3, 5), rows=2)
        >>> session.step(np.zeros((2, 3), np.float32)).shape
        (2, 5)
        >>> h, c = session.state()
        >>> session.restore((h, c))
    """

    def __init__(
        self, stack: Stack | Layer, *, dtype: str = "float32", rows: int = 1, head: nn.Linear | None = None
    ) -> None:
        if dtype not in WAYS:
            raise ConfigError(f"Session got dtype={dtype!r}; expected one of {', '.join(WAYS)}")
        if rows < 1:
            raise ConfigError(f"Session got rows={rows}; expected at least 1")
        if not stack.streamable or (isinstance(stack, Layer) and stack.reverse):
            raise ConfigError("Session got a stack that reads backwards; it needs what has not come yet")
        layers = _layers_of(stack)
        self.dtype, self.rows, self.input_size = dtype, rows, layers[0].input_size
        self.reason = why_not(stack)
        if self.reason is not None and dtype != "float32":
            raise ConfigError(f"Session got dtype={dtype!r}, but this stack runs in torch: {self.reason}")
        self._engine: _Engine
        self.native: Any = None  # C++'s session, where it runs there
        if self.reason is None:
            self._engine, parts = _packed(stack, layers, dtype, rows, head)
            self.native = self._engine.native
        else:
            self._engine = _TorchEngine(stack, rows, head)
            parts = self._engine.parts
        self._state: list[np.ndarray] = parts  # views of what the engine reads and writes
        self._outputs: np.ndarray = self._engine.outputs()
        self.output_size = self._outputs.shape[1]
        self.state_parts = len(parts)
        with torch.no_grad():
            self._initial = [part.float().cpu().numpy().copy() for part in stack.initial_state(rows)]
        self.reset()

    def step(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Advance every row by one step.

        Args:
            inputs: (rows, input_size); quickest as a float32 array of numpy.

        Returns:
            (rows, output_size), in memory that the next step overwrites.

        Raises:
            ShapeError: If `inputs` has another shape.
        """
        try:
            self._engine.step(inputs)
        except (TypeError, ValueError, BufferError):
            self._engine.step(self._checked(inputs, (self.rows, self.input_size)))
        return self._outputs

    def run(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Advance every row by many steps.

        Args:
            inputs: (rows, time, input_size).

        Returns:
            (rows, time, output_size).

        Raises:
            ShapeError: If `inputs` has another shape.
        """
        steps = inputs.shape[1] if inputs.ndim == 3 else 1
        values = self._checked(inputs, (self.rows, steps, self.input_size))
        outputs = np.empty((self.rows, steps, self.output_size), np.float32)
        self._engine.run(values, outputs)
        return outputs

    def read(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Read steps of sequences that have their own states; what the session's rows remembered is lost.

        Args:
            inputs: (sequences, time, input_size), of at most as many sequences as the session has rows.
            state: (sequences, size) for each of the stack's `state_names`.

        Returns:
            (sequences, time, output_size), and the state after the last step.

        Raises:
            ShapeError: If a shape is another.
        """
        count, steps = inputs.shape[0], inputs.shape[1]
        if count > self.rows:
            raise ShapeError(f"Session got {count} sequences; expected at most {self.rows}")
        values = self._checked(inputs, (count, steps, self.input_size))
        outputs = np.empty((count, steps, self.output_size), np.float32)
        own = [part[:count] for part in self._state]
        for to, part in zip(own, state, strict=True):
            to[:] = part.numpy()
        self._engine.use(count)
        try:
            self._engine.run(values, outputs)
        finally:
            self._engine.use(self.rows)
        return torch.from_numpy(outputs), tuple(torch.from_numpy(part.copy()) for part in own)

    def state(self) -> tuple[np.ndarray, ...]:
        """Return a copy of the state: (rows, size) for each of the stack's `state_names`."""
        return tuple(part.copy() for part in self._state)

    def restore(self, state: Sequence[np.ndarray | Tensor]) -> None:
        """Go on from a state that `state` gave, or a stack.

        Args:
            state: (rows, size) for each of the stack's `state_names`.

        Raises:
            ShapeError: If the shapes are others.
        """
        shapes, expected = [tuple(part.shape) for part in state], [part.shape for part in self._state]
        if shapes != expected:
            raise ShapeError(f"Session got a state of {shapes}; expected {expected}")
        for own, part in zip(self._state, state, strict=True):
            own[:] = part.detach().float().cpu().numpy() if isinstance(part, Tensor) else part

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew: the state before the first step.

        Args:
            rows: Which rows; all unless given.
        """
        chosen = slice(None) if rows is None else list(rows)
        for own, initial in zip(self._state, self._initial, strict=True):
            own[chosen] = initial[chosen]

    def _checked(self, inputs: Any, shape: tuple[int, ...]) -> np.ndarray:
        if tuple(inputs.shape) != shape:
            raise ShapeError(f"Session got inputs {tuple(inputs.shape)}; expected {shape}")
        values = inputs.detach().float().cpu().numpy() if isinstance(inputs, Tensor) else inputs
        return np.require(values, np.float32, ["C", "A"])


class _Engine(Protocol):
    def use(self, rows: int) -> None: ...

    def step(self, inputs: Any) -> None: ...

    def run(self, inputs: np.ndarray, outputs: np.ndarray) -> None: ...

    def outputs(self) -> np.ndarray: ...


class _TorchEngine:
    """The stack itself, one step at a time."""

    def __init__(self, stack: Stack | Layer, rows: int, head: nn.Linear | None) -> None:
        self.stack, self.head = stack, head
        like = next(stack.parameters())
        self.initial = stack.initial_state(rows)
        self.parts = [np.empty(tuple(part.shape), np.float32) for part in self.initial]
        size = stack.output_size if head is None else head.out_features
        self.results = np.empty((rows, size), np.float32)
        self.place: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
        self.used = rows

    def use(self, rows: int) -> None:
        self.used = rows

    def outputs(self) -> np.ndarray:
        return self.results

    def step(self, inputs: Any) -> None:
        if tuple(inputs.shape) != (len(self.results), self.stack.input_size):
            raise ValueError
        self.run(np.asarray(inputs, np.float32)[:, None], self.results[:, None])

    def run(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        training = self.stack.training
        self.stack.eval()
        try:
            with torch.inference_mode():
                state = tuple(
                    torch.as_tensor(part[: self.used]).to(device=old.device, dtype=old.dtype)
                    for part, old in zip(self.parts, self.initial, strict=True)
                )
                values, state = self.stack(torch.as_tensor(inputs).to(**self.place), state)
                values = values if self.head is None else self.head(values)
        finally:
            self.stack.train(training)
        outputs[:] = values.float().cpu().numpy()
        for own, part in zip(self.parts, state, strict=True):
            own[: self.used] = part.float().cpu().numpy()


class _PackedEngine:
    """C++'s session, which reads and writes contiguous arrays."""

    def __init__(self, native: Any) -> None:
        self.native, self.step, self.outputs, self.use = native, native.step, native.outputs, native.use

    def run(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        self.native.run(inputs.ctypes.data, outputs.ctypes.data, inputs.shape[1])


def _packed(
    stack: Stack | Layer, layers: list[GatedLayer], dtype: str, rows: int, head: nn.Linear | None
) -> tuple[_PackedEngine, list[np.ndarray]]:
    native, parts = core.PackedSession(getattr(core.Way, WAYS[dtype]), rows), []
    norms = list(stack.norms) if isinstance(stack, Stack) else [nn.Identity()]
    residual = isinstance(stack, Stack) and stack.residual
    for layer, norm in zip(layers, norms, strict=True):
        _add_layer(native, layer)
        _add_surroundings(native, layer, norm, residual=residual and layer.input_size == layer.output_size)
    if head is not None:
        weight, bias = as_float(head.weight), as_float(head.bias)
        native.set_head(address(weight), address(bias), head.out_features)
    native.finish()
    for depth, layer in enumerate(layers):
        parts += [native.state(depth, part) for part in range(len(layer.state_names))]
    return _PackedEngine(native), parts


def _add_layer(native: Any, layer: GatedLayer) -> None:
    formula = FORMULAS[layer.formula]
    biases = (layer.bias_ih_l0, layer.bias_hh_l0) if layer.bias else (None, None)
    projection = layer.weight_hr_l0 if layer.projection_size else None
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, *biases, projection)
    own = [as_float(weight) for weight in weights]  # alive until they are packed
    sizes = (layer.input_size, layer.hidden_size, layer.output_size)
    native.add_layer(formula.native, formula.joined, formula.apart, *sizes, *(address(weight) for weight in own))


def _add_surroundings(native: Any, layer: GatedLayer, norm: nn.Module, *, residual: bool) -> None:
    kind, weight, bias, epsilon = core.Norm.none, None, None, 0.0
    if isinstance(norm, nn.LayerNorm):
        kind, weight, bias, epsilon = core.Norm.layer, as_float(norm.weight), as_float(norm.bias), norm.eps
    elif isinstance(norm, nn.RMSNorm):
        epsilon = torch.finfo(torch.float32).eps if norm.eps is None else norm.eps
        kind, weight = core.Norm.rms, as_float(norm.weight)
    native.surround(kind, address(weight), address(bias), epsilon, residual, layer.zoneout, layer.zoneout)


def _layers_of(stack: Stack | Layer) -> list[Any]:
    return [stack] if isinstance(stack, Layer) else [row[0] for row in stack.layers]  # type: ignore[index]


def why_not(stack: Stack | Layer) -> str | None:
    """Say why the C++ kernels cannot run a stack of one direction, if they cannot."""
    if core is None:
        return MISSING
    for layer in _layers_of(stack):
        name, like = type(layer).__name__, next(layer.parameters())
        if not isinstance(layer, GatedLayer) or layer.formula not in FORMULAS or layer.heads != 1:
            return f"the C++ kernels do not know {name}"
        if not is_native(like):
            return f"the weights of {name} are {like.dtype} on {like.device}, not torch.float32 on cpu"
    return None
