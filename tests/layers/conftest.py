"""The layers every contract runs over: those of LAYERS, and three as a user would write them."""

import pytest
import torch
from torch import Tensor, nn

from rnnkit.layers import LAYERS, DiagonalLayer, GatedLayer, Layer


class NormedPeephole(GatedLayer):
    """Coupled gates, a peephole and an inner normalisation: parameters of its own that `update` reads."""

    num_gates, state_names, forget_gate = 3, ("h", "c"), 0

    def define(self) -> None:
        super().define()
        self.peephole_l0 = nn.Parameter(torch.full((self.hidden_size,), 0.3))
        self.normed = nn.LayerNorm(self.hidden_size)

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: tuple[Tensor, ...]):
        f, g, o = (input_gates + hidden_gates).chunk(3, dim=-1)
        f = torch.sigmoid(f + self.peephole_l0 * state[1])
        c = f * state[1] + (1 - f) * g.tanh()
        h = o.sigmoid() * self.normed(c).tanh()
        return h, (h, c)


class ThreeHeads(GatedLayer):
    """A recurrent matrix of three blocks, and an output that is not the state."""

    num_gates, state_names, heads = 2, ("h",), 3

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: tuple[Tensor, ...]):
        z, candidate = (input_gates + hidden_gates).chunk(2, dim=-1)
        h = state[0] + z.sigmoid() * (candidate.tanh() - state[0])
        return 2 * h.tanh(), (h,)


class MinGRU(DiagonalLayer):
    """Feng et al. 2024 (arXiv 2410.01201), with a gate on the way out."""

    def define(self) -> None:
        self.linear = nn.Linear(self.input_size, 3 * self.hidden_size)

    def coefficients(self, inputs: Tensor, state: tuple[Tensor, ...]):
        z, candidate, _ = self.linear(inputs).chunk(3, dim=-1)
        return 1 - z.sigmoid(), z.sigmoid() * candidate, ()

    def readout(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        return hidden * self.linear(inputs).chunk(3, dim=-1)[2].sigmoid()


OWN_LAYERS: dict[str, type[Layer]] = {"own-gated": NormedPeephole, "own-heads": ThreeHeads, "own-diagonal": MinGRU}
ALL_LAYERS = {**LAYERS, **OWN_LAYERS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `layer_class` over every layer."""
    if "layer_class" in metafunc.fixturenames:
        metafunc.parametrize("layer_class", ALL_LAYERS.values(), ids=ALL_LAYERS.keys())
