"""A folder of ONNX graphs, beside what a program must know to use them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from rnnkit.checkpoint import write_folder
from rnnkit.decoding.crf import Chain
from rnnkit.errors import ConfigError
from rnnkit.export.conversion import convert, largest_error, quantised
from rnnkit.export.graphs import Graph, graphs_of
from rnnkit.runner.base import FORMAT
from rnnkit.tasks import Tagging, Task

KINDS = ("float32", "int8")


@dataclass(frozen=True)
class Exported:
    """A graph that was written.

    Attributes:
        file: Its name in the folder.
        any_time: Whether it takes any number of steps.
        error: The largest difference from the model's numbers.
        size: Bytes.
    """

    file: str
    any_time: bool
    error: float
    size: int


def export_onnx(task: Task, folder: Path, *, weights: str = "float32") -> list[Exported]:
    """Write a model as ONNX, its state named inputs and outputs.

    Args:
        task: The model.
        folder: Made, or replaced as a whole once everything is checked.
        weights: "float32", or "int8" for products with weights of 8 bits.

    Returns:
        What was written.

    Raises:
        ConfigError: If the model cannot be exported, with the reason, or the folder holds other files.
        RunError: If onnxruntime's answers are not the model's; nothing is written then.
    """
    if weights not in KINDS:
        raise ConfigError(f"weights is {weights!r}; expected one of {', '.join(KINDS)}")
    if folder.exists() and not (folder / "bundle.json").is_file() and any(folder.iterdir()):
        raise ConfigError(f"{folder} holds other files; name an empty folder, or one of an earlier export, by --output")
    graphs = graphs_of(task)
    models = [(graph, convert(graph)) for graph in graphs]
    errors = [largest_error(model, graph) for graph, model in models]
    written: list[Exported] = []

    def write(aside: Path) -> None:
        task.save_assets(aside)
        begun: dict[str, np.ndarray] = {}
        for (graph, model), error in zip(models, errors, strict=True):
            file = aside / f"{graph.name}.onnx"
            onnx.save(model, file)
            if weights == "int8":
                quantised(str(file), str(file))
            written.append(Exported(file.name, graph.any_time, error, file.stat().st_size))
            first = graph.example(1, graph.multiple)[len(graph.inputs) :]
            begun |= {name: part.numpy() for name, part in zip(graph.state, first, strict=True)}
        np.savez(aside / "state.npz", **begun)  # type: ignore[arg-type]
        if isinstance(task, Tagging):
            chain = dict(zip(Chain._fields, task.chain.arrays(), strict=True))
            np.savez(aside / "chain.npz", **chain)  # type: ignore[arg-type]
        (aside / "bundle.json").write_text(json.dumps(describe(task, graphs, weights), indent=1))

    write_folder(folder, write)
    return written


def describe(task: Task, graphs: list[Graph], weights: str) -> dict[str, Any]:
    """Say what a program must know of a model: its graphs, their inputs, outputs and states."""
    return {
        "format": FORMAT,
        "task": task.name,
        "weights": weights,
        "config": asdict(task.config),
        "graphs": {
            graph.name: {
                "file": f"{graph.name}.onnx",
                "inputs": list(graph.inputs),
                "outputs": list(graph.outputs),
                "state": list(graph.state),
                "steps": "any" if graph.any_time else "one",
                "multiple": graph.multiple,
            }
            for graph in graphs
        },
    }
