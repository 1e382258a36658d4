from typing import Any

import pytest
import torch
from torch import nn

from rnnkit import GRU, LAYERS, LSTM, Stack, kernels
from rnnkit.errors import ConfigError, ShapeError
from rnnkit.layers import DiagonalLayer, Layer

SHAPES: list[dict[str, Any]] = [
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "residual": True, "norm": "layer"},
    {"num_layers": 2, "norm": "rms", "bidirectional": True, "residual": True},
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))


def make(layer: type[Layer], **shape: Any) -> Any:
    return Stack(layer, 4, 4, **shape).double().eval()


def by_hand(stack, inputs, lengths):
    """Run the rows one by one, layer by layer, each on its valid steps only."""
    outputs = []
    for row, length in zip(inputs, lengths.tolist(), strict=True):
        values = row[None, :length]
        for layers, norm in zip(stack.layers, stack.norms, strict=True):
            below = norm(values)
            results = [layer(below)[0] for layer in layers]
            result = torch.cat(results, -1)
            values = result + values if stack.residual and result.shape == values.shape else result
        outputs.append(values[0])
    return nn.utils.rnn.pad_sequence(outputs, batch_first=True)


@each_shape
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_stack_is_its_layers_one_after_the_other(layer, shape):
    stack, inputs, lengths = make(layer, **shape), torch.randn(3, 6, 4).double(), torch.tensor([6, 2, 4])
    assert torch.allclose(stack(inputs, lengths=lengths)[0], by_hand(stack, inputs, lengths), atol=1e-12, rtol=0)


@each_shape
def test_padding_reaches_neither_outputs_nor_gradients(shape):
    # a residual adds the inputs, NaN and all, to what the layers have cleaned
    stack, lengths = make(LSTM, **shape), torch.tensor([6, 2, 0])
    clean = torch.randn(3, 6, 4).double()
    valid = torch.arange(6) < lengths[:, None]
    dirty = torch.where(valid[..., None], clean, float("nan")).requires_grad_()
    outputs, state = stack(dirty, lengths=lengths)
    expected, expected_state = stack(clean, lengths=lengths)
    assert torch.equal(outputs, expected)
    assert all(torch.equal(part, other) for part, other in zip(state, expected_state, strict=True))
    assert (outputs[~valid] == 0).all()
    outputs.sum().backward()
    assert dirty.grad is not None
    assert torch.isfinite(dirty.grad).all()
    assert (dirty.grad[~valid] == 0).all()


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_stack_in_chunks_gives_what_the_whole_gives(layer):
    stack, inputs = make(layer, num_layers=3, residual=True, norm="layer"), torch.randn(2, 7, 4).double()
    whole, last = stack(inputs)
    first, state = stack(inputs[:, :3])
    steps = []
    for step in range(3, 7):
        part, state = stack(inputs[:, step : step + 1], state)
        steps.append(part)
    assert torch.allclose(torch.cat([first, *steps], 1), whole, atol=1e-12, rtol=0)
    assert all(torch.allclose(part, other, atol=1e-12) for part, other in zip(state, last, strict=True))


def test_the_state_is_the_layers_states_in_order():
    stack = make(LSTM, num_layers=2, bidirectional=True)
    assert stack.state_names == (
        "0.forward.h",
        "0.forward.c",
        "0.reverse.h",
        "0.reverse.c",
        "1.forward.h",
        "1.forward.c",
        "1.reverse.h",
        "1.reverse.c",
    )
    assert make(GRU, num_layers=2).state_names == ("0.h", "1.h")
    inputs = torch.randn(2, 5, 4).double()
    outputs, state = stack(inputs)
    assert len(state) == 8
    assert torch.equal(state[4], outputs[:, -1, :4])  # forward ends at the last step
    assert torch.equal(state[6], outputs[:, 0, 4:])  # backward at the first


def test_a_given_state_reaches_each_layer():
    stack, inputs = make(LSTM, num_layers=2), torch.randn(2, 1, 4).double()
    state = tuple(torch.randn(2, 4).double() for _ in range(4))
    first, (h, c) = stack.layers[0][0](inputs, state[:2])
    _, expected = stack.layers[1][0](first, state[2:])
    assert all(torch.equal(one, other) for one, other in zip(stack(inputs, state)[1], (h, c, *expected), strict=True))


def test_sizes_follow_directions_and_projection():
    stack: Any = Stack(LSTM, 3, 5, num_layers=2, bidirectional=True, options={"projection_size": 2})
    assert stack.output_size == 4
    assert [layer.input_size for layer in stack.layers[1]] == [4, 4]
    assert stack(torch.zeros(2, 6, 3))[0].shape == (2, 6, 4)
    assert [tuple(part.shape) for part in stack.initial_state(2)] == [(2, 2), (2, 5)] * 4


def test_only_one_direction_streams():
    assert make(LSTM).streamable
    assert not make(LSTM, bidirectional=True).streamable


def test_no_time_and_no_batch_are_legal():
    stack = make(GRU, num_layers=2, residual=True, norm="layer")
    outputs, state = stack(torch.zeros(3, 0, 4).double())
    assert outputs.shape == (3, 0, 4)
    assert all((part == 0).all() for part in state)
    assert stack(torch.zeros(0, 5, 4).double())[0].shape == (0, 5, 4)


def test_dropout_is_between_layers_only_and_locked(monkeypatch):
    stack, seen = make(LSTM, num_layers=2, dropout=0.5).train(), []
    for row in stack.layers:
        layer = row[0]
        monkeypatch.setattr(layer, "scan", lambda inputs, state, lengths: (seen.append(inputs), (inputs, state))[1])
    inputs = torch.ones(3, 5, 4).double()
    outputs, _ = stack(inputs)
    assert torch.equal(seen[0], inputs)
    assert set(seen[1].flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[1], seen[1][:, :1].expand_as(seen[1]))
    assert torch.equal(outputs, seen[1])  # nothing is dropped after the last


def test_options_reach_every_layer():
    stack: Any = Stack(GRU, 3, 4, num_layers=2, bidirectional=True, options={"zoneout": 0.1, "checkpoint_every": 3})
    layers = [layer for row in stack.layers for layer in row]
    assert [(layer.zoneout, layer.checkpoint_every) for layer in layers] == [(0.1, 3)] * 4
    assert [layer.reverse for layer in layers] == [False, True, False, True]


def test_a_stack_of_a_users_layer():
    class Averages(DiagonalLayer):
        def define(self):
            self.linear = nn.Linear(self.input_size, self.hidden_size)

        def coefficients(self, inputs, state):
            drive = self.linear(inputs)
            return drive.new_full((1, 1, self.hidden_size), 0.9), 0.1 * drive, ()

    stack = make(Averages, num_layers=2)
    inputs = torch.randn(2, 5, 4).double()
    h = torch.zeros(2, 4).double()
    for step in range(5):
        h = 0.9 * h + 0.1 * stack.layers[0][0].linear(inputs[:, step])
    assert torch.allclose(stack(inputs)[1][0], h, atol=1e-14)
    with kernels.use("reference"):
        assert torch.allclose(stack(inputs)[1][0], h, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"dropout": 1.0}, r"dropout=1.0; expected \[0, 1\)"),
        ({"norm": "batch"}, "norm='batch'; expected 'layer' or 'rms'"),
        ({"options": {"zoneot": 0.1}}, "LSTM has no option 'zoneot'; did you mean 'zoneout'"),
        ({"options": {"nothing": 1}}, "no option 'nothing'.*Options: bias"),
        ({"options": {"reverse": True}}, "no option 'reverse'"),
        ({"options": {"zoneout": 2}}, "zoneout=2"),
    ],
)
def test_wrong_arguments_are_refused_with_their_values(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Stack(LSTM, 3, 4, **arguments)


def test_wrong_shapes_are_refused_with_their_values():
    stack = make(LSTM, num_layers=2)
    with pytest.raises(ShapeError, match=r"\(6, 4\)"):
        stack(torch.zeros(6, 4).double())
    with pytest.raises(ShapeError, match=r"\(2, 6, 9\).*\(batch, time, 4\)"):
        stack(torch.zeros(2, 6, 9).double())
    with pytest.raises(ShapeError, match="state of 1 parts; expected 4"):
        stack(torch.zeros(2, 6, 4).double(), (torch.zeros(2, 4).double(),))
    with pytest.raises(ShapeError, match="from 2 to 7; expected 0 to 6"):
        stack(torch.zeros(2, 6, 4).double(), lengths=torch.tensor([7, 2]))
