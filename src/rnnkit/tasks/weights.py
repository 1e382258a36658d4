"""Weights that training takes over from another model."""

from __future__ import annotations

from torch import Tensor, nn

from rnnkit.errors import ConfigError


def take_weights(network: nn.Module, trained: nn.Module, *, new: tuple[str, ...] = ()) -> None:
    """Begin with the weights of a network of the same sizes.

    Args:
        network: New.
        trained: Whose weights to take.
        new: Beginnings of the names of those that stay as they are.

    Raises:
        ConfigError: If a size differs.
    """
    ours, theirs = (
        {name: tensor for name, tensor in one.state_dict().items() if not name.startswith(new)}
        for one in (network, trained)
    )
    for name in dict.fromkeys((*ours, *theirs)):
        here, there = ours.get(name), theirs.get(name)
        if here is None or there is None or here.shape != there.shape:
            raise sizes_differ(name, here, there)
    network.load_state_dict(theirs, strict=not new)


def sizes_differ(name: str, here: Tensor | None, there: Tensor | None) -> ConfigError:
    """Say that a weight cannot be taken over.

    Args:
        name: Of the weight.
        here: As it is in the new network, if it is there.
        there: In the one to go on from, likewise.

    Returns:
        The error to raise.
    """
    sizes = ["not there" if one is None else tuple(one.shape) for one in (here, there)]
    return ConfigError(
        f"{name} is {sizes[0]} here and {sizes[1]} in the model to go on from; expected the same: leave out the "
        "options that change the network's sizes, and use data of the same kind"
    )
