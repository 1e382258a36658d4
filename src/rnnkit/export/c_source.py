"""C that grows: constants, fields of a stream, statements of a step; and the files that are made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

import numpy as np
from torch import Tensor

NUMBERS_A_LINE = 8
OTHERS = re.compile(r"[^A-Za-z0-9_]+")


class Source:
    """C that grows: arrays of weights, fields of the stream, statements of a step.

    Args:
        name: Begins every name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays: dict[str, np.ndarray] = {}
        self.fields: list[str] = []
        self.reset: list[str] = []
        self.step: list[str] = []
        self.scratch = 1  # floats

    def weights(self, word: str, values: Tensor | np.ndarray | None) -> str:
        """Keep an array of constants, and return its name; 0 where there is none."""
        if values is None:
            return "0"
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        name = f"{self.name}_{word}"
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def matrix(self, word: str, weight: Tensor) -> str:
        """Keep a matrix column by column."""
        return self.weights(word, weight.detach().T)

    def field(self, word: str, size: int, begin: str = "0") -> str:
        """Add an array of floats to the stream, and return its name there."""
        self.fields.append(f"float {word}[{size}];")
        if begin != "0":
            self.reset.append(f"for (int at = 0; at < {size}; ++at) stream->{word}[at] = {begin};")
        return f"stream->{word}"

    def need(self, floats: int) -> str:
        """Ask for room that a step may use, and return its name."""
        self.scratch = max(self.scratch, floats)
        return "stream->scratch"

    def say(self, *lines: str) -> None:
        """Add statements to the step."""
        self.step.extend(lines)


def c_identifier(name: str) -> str:
    """Turn a model's name into one that C takes."""
    word = OTHERS.sub("_", name).strip("_").lower() or "model"
    return f"model_{word}" if word[0].isdigit() else word


def filled(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of templates/: $name by what stands under the name."""
    return Template(files("rnnkit.export").joinpath("templates", template).read_text()).substitute(values)


def weights_file(source: Source) -> str:
    """Write the constants."""
    parts = [f"/* Constants of {source.name}. */\n"]
    for name, array in source.arrays.items():
        whole = np.issubdtype(array.dtype, np.integer)
        kind = "long long" if whole else "float"
        words = [f"{value}LL" if whole else number(value) for value in array.reshape(-1).tolist()] or ["0"]
        lines = [", ".join(words[at : at + NUMBERS_A_LINE]) for at in range(0, len(words), NUMBERS_A_LINE)]
        parts.append(f"static const {kind} {name}[{len(words)}] = {{\n" + ",\n".join(lines) + "\n};\n")
    return "\n".join(parts)


def block(lines: Sequence[str]) -> str:
    """Indent statements."""
    return "\n".join(f"    {line}" for line in lines)


def number(value: float) -> str:
    """Write a float so that it is read back the same."""
    return f"{value:.9e}f"


def quoted(text: str) -> str:
    """Write a text as C does, in bytes of UTF-8."""
    characters = (
        one if " " <= one <= "~" and one not in '"\\?' else "".join(f"\\{byte:03o}" for byte in one.encode())
        for one in text
    )
    return f'"{"".join(characters)}"'
