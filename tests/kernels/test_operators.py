"""The scans as torch operators: what torch's own checks say, and what its compilers make of a layer."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnkit import GRU, LAYERS, LSTM, Stack, accelerate
from rnnkit.kernels.core import core

pytestmark = pytest.mark.skipif(core is None, reason="the C++ core was not built")


def arguments(*, lengths: bool, features: bool, formula: str = "lstm", gates: int = 4, parts: int = 2) -> tuple:
    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    projection = draw(3, 5) if features and formula == "lstm" else None
    size = 5 if projection is None else 3
    state = [draw(2, size), *(draw(2, 5) for _ in range(parts - 1))]
    mask = torch.rand(2, size).double() if features else None
    zoneout = [torch.rand(2, 4, part.shape[1]).double() for part in state] if features else []
    biases = (None, None) if features else (draw(gates * 5), draw(gates * 5))
    weights = draw(gates * 5, 3), draw(gates * 5, size), *biases, projection
    return (
        draw(2, 4, 3),
        *weights,
        state,
        torch.tensor([4, 2]) if lengths else None,
        mask,
        zoneout,
        formula,
        False,
        True,
    )


@pytest.mark.parametrize(("features", "lengths"), [(False, False), (True, True)])
@pytest.mark.parametrize(("name", "gates", "parts"), [("lstm", 4, 2), ("gru", 3, 1), ("rnn-tanh", 1, 1)])
def test_opcheck(name: str, gates: int, parts: int, features: bool, lengths: bool):
    given = arguments(lengths=lengths, features=features, formula=name, gates=gates, parts=parts)
    torch.library.opcheck(torch.ops.rnnkit.gated_scan.default, given)


def test_opcheck_of_the_diagonal_scan():
    decay, drive = (torch.rand(2, 4, 3, requires_grad=True) for _ in range(2))
    torch.library.opcheck(torch.ops.rnnkit.diagonal_scan.default, (decay, drive, torch.rand(2, 3, requires_grad=True)))


def nodes(graph: torch.fx.Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if "rnnkit" in str(node.target)]


def test_export_sees_one_node_a_layer_and_direction():
    stack = Stack(LSTM, 3, 4, num_layers=2, bidirectional=True).eval()
    inputs = torch.randn(2, 6, 3)
    with torch.no_grad():
        exported = torch.export.export(stack, (inputs,))
        assert nodes(exported.graph) == ["rnnkit.gated_scan.default"] * 4
        expected, state = stack(inputs)
        outputs, last = exported.module()(inputs)
    assert torch.equal(outputs, expected)
    assert all(torch.equal(one, other) for one, other in zip(last, state, strict=True))


def test_export_with_any_batch_and_time():
    layer = GRU(3, 4).eval()
    sizes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("time", min=1)}
    with torch.no_grad():
        exported = torch.export.export(layer, (torch.randn(2, 6, 3),), dynamic_shapes=(sizes,))
        for inputs in (torch.randn(5, 2, 3), torch.randn(1, 9, 3)):
            assert torch.equal(exported.module()(inputs)[0], layer(inputs)[0])


@pytest.mark.parametrize("name", LAYERS)
def test_a_compiled_layer_gives_the_same_numbers_and_gradients(name: str):
    torch.compiler.reset()  # the layers share their code, and a compiler gives up after a few versions of it
    layer, lengths = LAYERS[name](3, 4).double(), torch.tensor([4, 0, 2])
    inputs = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    results: list[list[Tensor]] = []
    for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        outputs, state = run(inputs, None, lengths)
        total: Any = outputs.square().sum() + sum(part.sum() for part in state)
        results.append([outputs, *state, *torch.autograd.grad(total, [inputs, *layer.parameters()])])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_an_accelerated_module_is_one_node():
    module = accelerate(nn.LSTM(3, 4, batch_first=True)).eval()
    with torch.no_grad():
        assert nodes(torch.export.export(module, (torch.randn(2, 5, 3),)).graph) == ["rnnkit.gated_scan.default"]
