"""Which option applies to which layer: the one table, checked at construction and walked by the contract tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnkit.errors import ConfigError

if TYPE_CHECKING:
    from rnnkit.layers.base import Layer


@dataclass(frozen=True)
class Option:
    """One row: who takes the option, what the others lack, its range, and a value to test it with."""

    takes: Callable[[type[Layer]], bool]
    lacks: str
    valid: Callable[[Any], bool]
    range: str
    example: Any


def _gated(layer: type[Layer]) -> bool:
    return layer.family == "gated"


def _any(layer: type[Layer]) -> bool:
    return True


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < 1


def _count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value > 0)


OPTIONS: dict[str, Option] = {
    "bias": Option(_gated, "its biases are its own", lambda v: isinstance(v, bool), "true or false", False),
    "input_dropout": Option(_any, "", _share, "[0, 1)", 0.3),
    "variational_dropout": Option(_gated, "no recurrent matrix", _share, "[0, 1)", 0.3),
    "weight_dropout": Option(_gated, "no recurrent matrix", _share, "[0, 1)", 0.3),
    "zoneout": Option(_gated, "its units have no step of their own", _share, "[0, 1)", 0.3),
    "projection_size": Option(
        lambda layer: _gated(layer) and layer.projects, "its update reads the state it would project", _count, "> 0", 3
    ),
    "initialization": Option(
        _gated,
        "it initialises itself",
        lambda v: v in ("orthogonal", "uniform"),
        "'orthogonal' or 'uniform'",
        "uniform",
    ),
    "forget_bias": Option(
        lambda layer: _gated(layer) and layer.forget_gate is not None,
        "no forget gate",
        lambda v: isinstance(v, (int, float)),
        "a number",
        2.0,
    ),
    "learn_initial_state": Option(
        lambda layer: not layer.begins_anew,
        "nothing was seen before its first step",
        lambda v: isinstance(v, bool),
        "true or false",
        True,
    ),
    "checkpoint_every": Option(_gated, "it has no step after step to recompute", _count, "> 0", 2),
}


def check_options(layer: type[Layer], options: dict[str, Any]) -> None:
    """Refuse what the table does not allow; None always means that an option is not set.

    Args:
        layer: The class that was given the options.
        options: Name to value, only those that differ from the default.

    Raises:
        ConfigError: If an option does not apply to this layer, or its value is out of range.
    """
    for name, value in options.items():
        option = OPTIONS[name]
        if not option.takes(layer):
            raise ConfigError(f"{layer.__name__} does not take {name}={value!r}: {option.lacks}")
        if not option.valid(value):
            raise ConfigError(f"{layer.__name__} got {name}={value!r}; expected {option.range}")
    if options.get("bias") is False and "forget_bias" in options:
        raise ConfigError(
            f"{layer.__name__} got forget_bias={options['forget_bias']!r} with bias=False; drop one of them"
        )
