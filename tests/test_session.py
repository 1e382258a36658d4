"""A session gives what its stack gives, in every precision of its weights."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnkit import GRU, LSTM, RNN, GatedLayer, MinGRU, ReluRNN, ResetBeforeGRU, Session, Stack
from rnnkit.errors import ConfigError, ShapeError
from rnnkit.kernels.core import core, levels, use_level
from rnnkit.layers import LAYERS
from rnnkit.session import PackedStack, pack

# Root mean square error over that of the outputs, from the stack in float32: bfloat16 keeps 8 bits of a weight, int8 7
# of a weight and of a value, and the weights here are larger than trained ones.
ERROR = {"float32": 1e-6, "bfloat16": 0.02, "int8": 0.06}
native = pytest.mark.skipif(core is None, reason="rnnkit was installed without its C++ kernels")
every_dtype = pytest.mark.parametrize("dtype", ERROR)

STACKS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "three layers": {"num_layers": 3},
    "residual and layer norm": {"num_layers": 2, "residual": True, "norm": "layer"},
    "rms norm": {"num_layers": 2, "norm": "rms"},
    "no bias": {"options": {"bias": False}},
    "zoneout": {"options": {"zoneout": 0.2}},
    "learnt initial state": {"options": {"learn_initial_state": True}},
}


def make(layer: Any, *, size: int = 37, input_size: int = 5, **options: Any) -> Stack:
    torch.manual_seed(0)
    stack = Stack(layer, input_size, size, **options).eval()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return stack


@torch.no_grad()
def outputs_of(stack: Stack, inputs: Tensor, state: Any = None, head: nn.Linear | None = None) -> tuple[Tensor, Any]:
    outputs, state = stack(inputs, state)
    return (outputs if head is None else head(outputs)), state


def error(got: np.ndarray, expected: Tensor) -> float:
    return float(np.sqrt(np.square(got - expected.numpy()).mean() / np.square(expected.numpy()).mean()))


@native
@every_dtype
@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("layer", [RNN, ReluRNN, LSTM, GRU, ResetBeforeGRU])
def test_steps_give_what_the_stack_gives(layer, options, dtype):
    stack = make(layer, **STACKS[options])
    for rows in (1, 2, 7):
        session = Session(stack, dtype=dtype, rows=rows)
        assert session.reason is None
        inputs = torch.randn(rows, 9, 5)
        got = np.stack([session.step(inputs[:, step].numpy()).copy() for step in range(9)], 1)
        expected, state = outputs_of(stack, inputs)
        assert error(got, expected) <= ERROR[dtype]
        for one, other in zip(session.state(), state, strict=True):
            assert error(one, other) <= 2 * ERROR[dtype]


@native
@every_dtype
def test_projection_and_head_are_in_the_step(dtype):
    stack, head = make(LSTM, num_layers=2, options={"projection_size": 11}), nn.Linear(11, 3)
    session, inputs = Session(stack, dtype=dtype, rows=2, head=head), torch.randn(2, 9, 5)
    assert session.output_size == 3
    assert error(session.run(inputs), outputs_of(stack, inputs, head=head)[0]) <= ERROR[dtype]


@native
@every_dtype
@pytest.mark.parametrize("level", levels())
def test_every_level_gives_the_same(level, dtype):
    stack, inputs = make(GRU, size=70, num_layers=2), torch.randn(3, 9, 5)
    with use_level(level):
        session = Session(stack, dtype=dtype, rows=3)
        assert error(session.run(inputs), outputs_of(stack, inputs)[0]) <= ERROR[dtype]


@every_dtype
def test_a_run_is_its_steps_bit_for_bit(dtype):
    stack, inputs = make(LSTM, num_layers=2), torch.randn(2, 6, 5)
    if core is None and dtype != "float32":
        pytest.skip("without C++ kernels there is float32 alone")
    one, other = (Session(stack, dtype=dtype, rows=2) for _ in range(2))
    stepped = np.stack([one.step(inputs[:, step]).copy() for step in range(6)], 1)
    assert np.array_equal(other.run(inputs), stepped)


def sessions() -> list[Session]:
    # one in C++, one in torch
    return [Session(make(LSTM), rows=3), Session(make(LSTM).double(), rows=3)]


@pytest.mark.parametrize("session", sessions(), ids=["native", "torch"])
def test_a_state_goes_out_and_in(session):
    inputs = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)
    session.reset()
    session.run(inputs[:, :4])
    kept = session.state()
    expected = session.run(inputs[:, 4:])
    session.reset()
    session.restore(kept)
    assert np.array_equal(session.run(inputs[:, 4:]), expected)
    stack = make(LSTM)
    session.restore([torch.from_numpy(part) for part in kept])
    from_stack, _ = outputs_of(stack, torch.from_numpy(inputs[:, 4:]), tuple(torch.from_numpy(p) for p in kept))
    assert error(expected, from_stack) <= 1e-6


@pytest.mark.parametrize("session", sessions(), ids=["native", "torch"])
def test_some_rows_begin_anew_alone(session):
    inputs = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    session.reset()
    first = session.step(inputs).copy()
    session.step(inputs)
    session.reset([0, 2])
    again = session.step(inputs)
    assert np.array_equal(again[[0, 2]], first[[0, 2]])
    assert not np.array_equal(again[1], first[1])


def test_a_learnt_initial_state_is_where_a_session_begins():
    stack = make(GRU, options={"learn_initial_state": True})
    session = Session(stack)
    (begin,) = session.state()
    assert np.array_equal(begin, stack.initial_state(1)[0].detach().numpy())


def test_later_changes_of_the_weights_do_not_reach_a_session():
    stack, inputs = make(LSTM), np.ones((1, 5), np.float32)
    session = Session(stack)
    before = session.step(inputs).copy()
    with torch.no_grad():
        stack.layers[0][0].weight_ih_l0.zero_()  # type: ignore[index]
    session.reset()
    if session.reason is None:
        assert np.array_equal(session.step(inputs), before)


def test_other_numbers_than_float32_are_taken_too():
    session = Session(make(LSTM))
    expected = session.step(np.ones((1, 5), np.float32)).copy()
    for inputs in (np.ones((1, 5)), np.ones((1, 5), np.int64), torch.ones(1, 5), torch.ones(1, 5, dtype=torch.float64)):
        session.reset()
        assert np.array_equal(session.step(inputs), expected)


def test_numbers_at_an_odd_address_are_taken():
    session, message = Session(make(LSTM)), b"x" + np.ones(5, np.float32).tobytes()
    expected = session.step(np.ones((1, 5), np.float32)).copy()
    session.reset()
    assert np.array_equal(session.step(np.frombuffer(message, np.float32, offset=1).reshape(1, 5)), expected)


@pytest.mark.parametrize("session", sessions(), ids=["native", "torch"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 5), (3, 1, 5), (0, 5)])
def test_other_shapes_are_refused(session, shape):
    with pytest.raises(ShapeError, match=r"got inputs \(.*\); expected \(3, 5\)"):
        session.step(np.zeros(shape, np.float32))


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"got a state of \[\(1, 3\)\]; expected \[\(1, 37\), \(1, 37\)\]"):
        Session(make(LSTM)).restore([np.zeros((1, 3))])


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="dtype='float16'; expected one of float32, bfloat16, int8"):
        Session(make(LSTM), dtype="float16")
    with pytest.raises(ConfigError, match="rows=0"):
        Session(make(LSTM), rows=0)
    with pytest.raises(ConfigError, match="reads backwards"):
        Session(Stack(LSTM, 3, 4, bidirectional=True))
    with pytest.raises(ConfigError, match="reads backwards"):
        Session(LSTM(3, 4, reverse=True))


class Own(GatedLayer):
    num_gates, state_names = 1, ("h",)

    def update(self, input_gates, hidden_gates, state):
        h = torch.sin(input_gates + hidden_gates)
        return h, (h,)


@pytest.mark.parametrize(
    ("stack", "reason"), [(Own(5, 6), "Own"), (MinGRU(5, 6), "MinGRU"), (make(GRU).double(), "float64")]
)
def test_what_cannot_be_packed_runs_in_torch_with_the_reason(stack, reason):
    session, inputs = Session(stack, rows=2), torch.randn(2, 7, 5)
    assert session.reason is not None
    if core is not None:
        assert reason in session.reason
    like = next(stack.parameters())
    expected, _ = outputs_of(stack, inputs.to(like.dtype))
    assert error(session.run(inputs), expected.float()) <= 1e-6
    with pytest.raises(ConfigError, match="dtype='int8', but this stack runs in torch"):
        Session(stack, dtype="int8")


# Stacks whose weights are packed behind their back


def with_states(stack: Stack, batch: int, steps: int) -> tuple[Tensor, Any]:
    generator = torch.Generator().manual_seed(5)
    state = tuple(torch.randn(part.shape, generator=generator) / 2 for part in stack.initial_state(batch))
    return torch.randn(batch, steps, stack.input_size, generator=generator), state


def assert_close(found: tuple[Tensor, Any], expected: tuple[Tensor, Any]) -> None:
    for one, other in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)  # what design.md promises across kernels


@pytest.mark.parametrize("layer", [name for name, one in LAYERS.items() if one.streamable])
@pytest.mark.parametrize("batch", [0, 1, 3, 150])
def test_a_packed_stack_reads_any_number_of_sequences(layer, batch):
    torch.manual_seed(0)
    stack = Stack(LAYERS[layer], 5, 8, num_layers=2).eval()
    inputs, state = with_states(stack, batch, 7)
    with torch.inference_mode():
        assert_close(PackedStack(stack).read(inputs, state), stack(inputs, state))


def test_changed_weights_are_packed_again():
    stack = make(GRU)
    inputs, state = with_states(stack, 3, 4)
    packed = PackedStack(stack)
    before, _ = packed.read(inputs, state)
    stack.load_state_dict({name: 1.5 * part for name, part in stack.state_dict().items()})
    found = packed.read(inputs, state)
    assert_close(found, outputs_of(stack, inputs, state))
    assert not torch.allclose(found[0], before, atol=0.01)


def test_several_threads_do_not_disturb_one_another():
    stack = make(GRU)
    packed, many = PackedStack(stack), torch.randn(400, 5, 5)
    state = stack.initial_state(1)
    expected = [outputs_of(stack, one[None], state) for one in many]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds: often enough that a reading is interrupted
    try:
        with ThreadPoolExecutor(4) as pool, torch.no_grad():
            found = list(pool.map(lambda one: packed.read(one[None], state), many))
    finally:
        sys.setswitchinterval(interval)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("layer", [LSTM, ResetBeforeGRU, MinGRU])
def test_a_packed_network_reads_ragged_rows_and_still_learns(layer):
    network = nn.Sequential(make(layer, num_layers=2))
    (stack,) = network
    inputs, state = with_states(stack, 5, 6)
    lengths = torch.tensor([3, 6, 0, 3, 1])
    expected = stack(inputs, state, lengths)
    reasons = pack(network)
    assert bool(reasons) == (layer is MinGRU or core is None)
    with torch.no_grad():
        assert_close(stack(inputs, state, lengths), tuple_detached(expected))
        assert_close(stack(inputs), outputs_of(make(layer, num_layers=2), inputs))
    stack(inputs, state, lengths)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in stack.parameters())


@native
def test_a_packed_network_that_is_converted_runs_in_torch():
    network = nn.Sequential(make(LSTM))
    pack(network)
    network.double()
    inputs = torch.randn(2, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        packed, _ = network[0](inputs)
    plain, _ = network[0](inputs)
    assert torch.equal(packed, plain.detach())


def tuple_detached(found: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    return found[0].detach(), tuple(part.detach() for part in found[1])


@native
def test_weights_of_a_network_that_cannot_be_packed_are_refused():
    with pytest.raises(ConfigError, match="cannot be int8: the C\\+\\+ kernels do not know MinGRU"):
        pack(nn.Sequential(make(MinGRU)), dtype="int8")
    with pytest.raises(ConfigError, match="dtype='int4'"):
        pack(nn.Sequential(make(LSTM)), dtype="int4")
    both = nn.ModuleDict({"one": make(LSTM), "two": make(LSTM, bidirectional=True)})
    assert pack(both, dtype="int8") == {"two": "it reads backwards too"}


@native
@pytest.mark.slow
@pytest.mark.parametrize("layer", [LSTM, GRU, ResetBeforeGRU])
@every_dtype
def test_errors_do_not_grow_over_ten_thousand_steps(layer, dtype):
    torch.manual_seed(0)
    stack = Stack(layer, 16, 128).eval()
    inputs = torch.randn(1, 10_000, 16)
    got, (expected, _) = Session(stack, dtype=dtype).run(inputs), outputs_of(stack, inputs)
    assert error(got[:, :1000], expected[:, :1000]) <= min(0.02, ERROR[dtype])
    assert error(got[:, -100:], expected[:, -100:]) <= 2 * max(1e-7, error(got[:, :100], expected[:, :100]))
