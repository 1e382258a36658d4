"""Layers walked step by step."""

import numpy as np
import pytest
import torch

from rnnkit.diagnosing import gate_uses, walk
from rnnkit.layers import GRU, LAYERS, LSTM, Layer

every_layer = pytest.mark.parametrize("layer_class", LAYERS.values(), ids=LAYERS.keys())


@every_layer
@pytest.mark.parametrize("reverse", [False, True])
def test_a_walk_gives_the_outputs_of_the_whole(layer_class: type[Layer], reverse: bool):
    layer = layer_class(3, 4, reverse=reverse).eval()
    inputs, lengths = torch.randn(2, 7, 3), torch.tensor([7, 4])
    with torch.inference_mode():
        expected, _ = layer(inputs, lengths=lengths)
    found = walk(layer, inputs, lengths)["output"]
    assert np.isnan(found[1, 4:]).all()
    assert np.nan_to_num(found) == pytest.approx(expected.numpy(), abs=1e-5)


@every_layer
def test_a_walk_goes_on_from_a_state(layer_class: type[Layer]):
    layer, inputs = layer_class(3, 4).eval(), torch.randn(1, 6, 3)
    with torch.inference_mode():
        _, state = layer(inputs[:, :3])
    whole, rest = walk(layer, inputs), walk(layer, inputs[:, 3:], state=state)
    assert rest.keys() == whole.keys()
    for name, values in rest.items():
        assert values == pytest.approx(whole[name][:, 3:], abs=1e-5)


def test_the_state_is_that_of_the_equations():
    layer, inputs = LSTM(3, 4).eval(), torch.randn(2, 5, 3)
    found = walk(layer, inputs)
    assert list(found) == ["input gate", "forget gate", "output gate", "h", "c", "output"]
    kept = found["forget gate"][:, 1:] * found["c"][:, :-1]
    assert (np.abs(found["c"][:, 1:] - kept) <= found["input gate"][:, 1:] + 1e-6).all()  # i tanh(...) was added
    assert found["h"] == pytest.approx(found["output gate"] * np.tanh(found["c"]), abs=1e-6)


@pytest.mark.parametrize(("bias", "shut", "open"), [(-20.0, 1.0, 0.0), (20.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_gates_that_are_stuck_are_counted(bias: float, shut: float, open: float):
    layer = GRU(3, 4).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.1)
        layer.bias_ih_l0.chunk(3)[1].fill_(bias)
    uses = {use.name: use for use in gate_uses(layer, torch.randn(2, 5, 3), torch.tensor([5, 2]))}
    assert uses.keys() == {"reset gate", "update gate"}
    assert (uses["update gate"].shut, uses["update gate"].open) == (shut, open)
    assert uses["reset gate"].mean == pytest.approx(0.5, abs=0.1)
