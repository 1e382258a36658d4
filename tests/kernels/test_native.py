"""The C++ kernels at every level of the instruction set that this machine runs."""

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnkit import GRU, LSTM, RNN, MinGRU, ReluRNN, kernels
from rnnkit.errors import ConfigError
from rnnkit.kernels.core import core, levels, use_level
from rnnkit.kernels.layout import even_layout, ragged_layout

pytestmark = pytest.mark.skipif(core is None, reason="rnnkit was installed without its C++ kernels")
every_level = pytest.mark.parametrize("level", levels())


# Functions of the gates


def numbers() -> Tensor:
    small = torch.logspace(-30, 0, 20_001)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e38, -1e38, 0.625, -0.625])
    return torch.cat([torch.linspace(-30, 30, 200_001), small, -small, special]).float()


@every_level
@pytest.mark.parametrize(("name", "relative"), [("sigmoid", 2.5e-7), ("tanh", 1.5e-7)])
def test_sigmoid_and_tanh_are_right_to_the_last_bits(level, name, relative):
    x = numbers()
    y = torch.empty_like(x)
    with use_level(level):
        getattr(core, name)(x.data_ptr(), y.data_ptr(), len(x))
    exact = getattr(torch, name)(x.double())
    assert torch.equal(y.isnan(), x.isnan())
    error = (y.double() - exact).abs()[~x.isnan()]
    assert error.max() <= 1e-7
    assert (error / exact[~x.isnan()].abs().clamp(min=1e-30)).max() <= relative


# Products


@every_level
@pytest.mark.parametrize("size", [1, 5, 16, 63, 64, 65, 130, 300])
def test_a_product_of_any_size_is_that_of_torch(level, size):
    # a relu layer whose input gates are 0: its output after one step is the recurrent product
    torch.manual_seed(size)
    for batch in (1, 2, 3, 5, 6, 7, 13):
        layer = make_relu(size)
        state = torch.randn(batch, size, dtype=torch.float64)
        with use_level(level), kernels.use("native"), torch.no_grad():
            outputs, _ = layer(torch.zeros(batch, 1, 1, dtype=torch.float64), (state,))
        expected = (state @ layer.weight_hh_l0.T).relu()
        assert (outputs[:, 0] - expected).abs().max() <= 1e-13 * size


def make_relu(size: int) -> Any:
    layer = ReluRNN(1, size, bias=False).double().eval()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.randn(size, size))
    return layer


# Levels


@every_level
@pytest.mark.parametrize("layer_class", [RNN, LSTM, GRU])
def test_every_level_gives_the_same_gradients(level, layer_class):
    torch.manual_seed(0)
    layer, inputs = layer_class(5, 70), torch.randn(9, 6, 5)
    lengths = torch.tensor([6, 0, 3, 6, 1, 2, 6, 5, 4])
    found = []
    for backend, one in (("native", level), ("reference", levels()[-1])):
        layer.zero_grad()
        with use_level(one), kernels.use(backend):
            outputs, state = layer(inputs, lengths=lengths)
            (outputs.square().sum() + state[0].sum()).backward()
        found.append([outputs, *state, *(parameter.grad for parameter in layer.parameters())])
    for got, expected in zip(*found, strict=True):
        assert (got - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())


def test_a_level_ends_with_its_block():
    before = core.level()
    with use_level(levels()[0]):
        assert core.level() == levels()[0]
    assert core.level() == before


def test_an_unknown_level_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=f"no level 'mmx' here; choose one of {', '.join(levels())}"):
        use_level("mmx").__enter__()


# Threads


@pytest.mark.parametrize("batch", [1, 3, 12, 33])
@pytest.mark.parametrize("layer_class", [RNN, LSTM, GRU])
def test_the_number_of_threads_changes_no_bit_of_the_recurrence(layer_class, batch):
    # the units or the sequences are shared out, never a sum; inputs of 0 leave out torch's product, which is shared out
    torch.manual_seed(0)
    layer, inputs = layer_class(4, 128), torch.zeros(batch, 7, 4)
    initial = tuple(torch.randn_like(part) for part in layer.initial_state(batch))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with kernels.use("native"), torch.no_grad():
                outputs, state = layer(inputs, initial)
            found.append([outputs, *state])
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


# Where the steps lie


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_ragged_layout_holds_every_valid_step_once(groups):
    rng = np.random.default_rng(0)
    for trial in range(20):
        sequences, steps = int(rng.integers(groups, 9)), int(rng.integers(1, 7))
        lengths = torch.tensor(rng.integers(0, steps + 1, sequences))
        layout = ragged_layout(lengths, steps, groups)
        assert layout.rows is not None
        expected = [row * steps + step for row in range(sequences) for step in range(int(lengths[row]))]
        assert sorted(layout.rows.tolist()) == expected, trial
        padded = torch.arange(1.0, sequences * steps + 1).view(sequences, steps, 1)
        valid = torch.arange(steps) < lengths[:, None]
        assert torch.equal(layout.unpack(layout.pack(padded)), padded * valid[..., None])
        by_sequence = torch.arange(float(sequences))[:, None]
        assert torch.equal(layout.disarrange(layout.arrange(by_sequence)), by_sequence)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_layout_knows_what_every_step_follows(groups):
    # a buffer of states that holds, at each place, the number of its sequence and its step
    lengths, steps = torch.tensor([4, 0, 2, 5, 1, 5]), 5
    for layout, ends in ((ragged_layout(lengths, steps, groups), lengths), (even_layout(6, steps, groups), None)):
        named = torch.cartesian_prod(torch.arange(6.0), torch.arange(1.0, steps + 1)).view(6, steps, 2)
        begin = torch.stack([torch.arange(6.0), torch.zeros(6)], 1)
        states = torch.cat([layout.arrange(begin), layout.pack(named)])
        before = layout.states_before(states)
        assert torch.equal(before[:, 0], layout.pack(named)[:, 0])
        assert torch.equal(before[:, 1] + 1, layout.pack(named)[:, 1])
        last = torch.full((6,), float(steps)) if ends is None else ends.float()
        assert torch.equal(layout.last_states(states), torch.stack([torch.arange(6.0), last], 1))


def test_groups_have_about_as_many_steps():
    lengths = torch.arange(1, 101)
    layout = ragged_layout(lengths, 100, 2)
    first, second = layout.count.sum(1).tolist()
    assert abs(first - second) <= 1
    assert first + second == sum(range(1, 101))


# Saturation


@every_level
@pytest.mark.parametrize("layer_class", [RNN, LSTM, GRU])
@pytest.mark.parametrize("size", [50.0, -50.0, 1e4, -1e4])
def test_saturated_gates_stay_finite(level, layer_class, size):
    layer = layer_class(3, 20)
    with torch.no_grad():
        layer.bias_ih_l0.fill_(size)
    inputs = torch.randn(2, 50, 3, requires_grad=True)
    with use_level(level), kernels.use("native"):
        outputs, state = layer(inputs)
        (outputs.sum() + state[0].sum()).backward()
    assert torch.isfinite(outputs).all()
    assert inputs.grad is not None
    assert torch.isfinite(inputs.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


def test_denormals_are_as_before_after_a_call():
    tiny = torch.tensor([1e-40])
    expected = (tiny * 0.5).item()
    assert expected > 0
    with kernels.use("native"), torch.no_grad():
        LSTM(3, 4)(torch.zeros(1, 2, 3))
    assert (tiny * 0.5).item() == expected


GROWTH = """
import itertools, sys, torch
from rnnkit import GRU, LSTM, Session, kernels
few, many = map(int, sys.argv[1:])
lstm, sequences = LSTM(8, 32), torch.randn(4, 10, 8)
gru, inputs = GRU(8, 32), torch.randn(1, 2, 8)
def calls():
    lstm(sequences)[0].sum().backward()
def calls_and_sessions():
    gru(inputs)[0].sum().backward()
    Session(gru).step(inputs[:, 0])
def held(times):
    with kernels.use("native"):
        for _ in itertools.repeat(None, times):
            WORK()
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = held(few)
print(held(many) - before)
"""


def growth(work: str, few: int, many: int) -> int:
    """Return by how many kilobytes more calls let a process grow, one of its own: what ran before hides what is lost.

    Not by getrusage, whose number begins with the most that the process which started it has held.
    """
    program = [sys.executable, "-c", GROWTH.replace("WORK", work), str(few), str(many)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def test_memory_does_not_grow_over_many_calls():
    assert growth("calls", 200, 1000) < 4096  # one leaked call a time would be 60 MB


# Long


@pytest.mark.slow
@pytest.mark.parametrize("layer_class", [RNN, LSTM, GRU, MinGRU])
def test_twenty_thousand_steps_are_as_right_as_a_few(layer_class):
    torch.manual_seed(0)
    layer, inputs = layer_class(3, 16), torch.randn(2, 20_000, 3)
    exact = copy.deepcopy(layer).double()
    results = []
    for one, given, backend in ((layer, inputs, "native"), (exact, inputs.double(), "reference")):
        with kernels.use(backend):
            outputs, _ = one(given)
            outputs[:, -50:].square().sum().backward()
        results.append([outputs, *(parameter.grad for parameter in one.parameters())])
    for got, expected in zip(*results, strict=True):
        assert (got - expected).abs().max() <= 2e-5 * max(1.0, expected.abs().max().item())


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_sessions_and_calls():
    assert growth("calls_and_sessions", 1000, 10_000) < 8192  # a leak of a session's weights each time would be 150 MB
