"""`rnnkit export`: models that leave the house."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from rnnkit.cli.answering import open_model
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, Common, Machine
from rnnkit.cli.output import print_json, print_rows
from rnnkit.errors import ConfigError
from rnnkit.export.bundle import export_onnx
from rnnkit.export.c_source import c_identifier
from rnnkit.export.plain import export_c


def export(
    model: Path,
    /,
    *,
    format: Literal["onnx", "c"] = "onnx",
    output: Path | None = None,
    weights: Literal["float32", "int8"] = "float32",
    name: Annotated[str | None, Parameter(help="Of C: what every name begins with; the folder's unless given.")] = None,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Write a model for programs without rnnkit: ONNX, its state going in and out by name, or plain C99.

    Args:
        model: A run or model folder.
        format: onnx, checked against the model before it is written; c, of classifiers and forecasters.
        output: Folder to write; export/FORMAT in the run unless given.
        weights: Of ONNX: int8 makes files smaller and products quicker, and answers a little less exact.
        name: Of C: what every name begins with.
        common: How to report.
        machine: Where to compute.
    """
    task = open_model(model, machine)
    folder = model / "export" / format if output is None else output
    if format == "c":
        if weights != "float32":
            raise ConfigError("C has float32 weights; leave out --weights")
        files = export_c(task, folder, name=c_identifier(name or model.resolve().name))
        if common.json:
            print_json({"task": task.name, "model": model, "files": files})
        else:
            print("\n".join(f"{file}  ({file.stat().st_size:,} bytes)" for file in files))
        return
    if name is not None:
        raise ConfigError("--name is for --format c")
    written = export_onnx(task, folder, weights=weights)
    if common.json:
        print_json({"task": task.name, "model": model, "folder": folder, "graphs": written})
        return
    rows = [
        (one.file, "any number" if one.any_time else "one at a time", f"{one.size:,}", f"{one.error:.1e}")
        for one in written
    ]
    heads = ("file", "steps", "bytes", "largest difference")
    print_rows(f"{folder}: checked in onnxruntime, at other batches and lengths than the example's", heads, rows)
