"""How fast each layer learns: its gradient, and its update by its weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils import get_total_norm

TOP = "top"  # what is in none of the layers


class LayerWatch:
    """Looks at one update, layer by layer.

    Args:
        network: What is trained.
        depths: Its layers from the input up; several together are called after the first of them.
    """

    def __init__(self, network: nn.Module, depths: Sequence[nn.Module]) -> None:
        names = {id(module): name for name, module in network.named_modules()}
        known = [next(names[id(one)] for one in module.modules() if id(one) in names) for module in depths]
        parts = {name: list(module.parameters()) for name, module in zip(known, depths, strict=True)}
        below = {id(parameter) for parameters in parts.values() for parameter in parameters}
        parts[TOP] = [parameter for parameter in network.parameters() if id(parameter) not in below]
        self.parts = {name: parameters for name, parameters in parts.items() if parameters}
        self._before: dict[str, list[Tensor]] = {}
        self._norms: dict[str, float] = {}

    def begin(self) -> None:
        """Remember the weights and the clipped gradients before the update."""
        for name, parameters in self.parts.items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            self._norms[name] = float(get_total_norm(gradients)) if gradients else 0.0
            self._before[name] = [matrix.clone() for matrix in _matrices(parameters)]

    def end(self) -> dict[str, dict[str, float]]:
        """Return for each layer `gradient_norm`, and `update_ratio` where it has matrices; `begin` was called."""
        found = {}
        for name, parameters in self.parts.items():
            pairs = zip(self._before[name], _matrices(parameters), strict=True)
            ratios = [float((new - old).norm() / old.norm()) for old, new in pairs if old.any()]
            found[name] = {"gradient_norm": self._norms[name]}
            if ratios:
                found[name]["update_ratio"] = sum(ratios) / len(ratios)
        self._before.clear()
        return found


def _matrices(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach() for parameter in parameters if parameter.dim() > 1]
