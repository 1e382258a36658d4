"""`rnnkit benchmark`: how fast it is on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import torch
from cyclopts import App, Parameter

from rnnkit.benchmarking import OURS, TABLES, Row, measure
from rnnkit.benchmarking.streams import measure_streams, most_streams
from rnnkit.cli.answering import open_model
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, Common, Machine
from rnnkit.cli.output import print_json, print_rows
from rnnkit.errors import ConfigError

app = App(name="benchmark", help="Measure the speed on this machine, rivals beside it.")


@app.command
def kernels(
    *tables: str,
    threads: Annotated[int | None, Parameter(help="Threads; torch's number unless given.")] = None,
    seconds: Annotated[float, Parameter(help="For each row.")] = 3.0,
    json: Annotated[bool, Parameter(help="Print one object a row.")] = False,
) -> None:
    """Time the recurrent kernels beside torch.nn and, where it is installed, onnxruntime.

    Args:
        tables: Which: step, training, ragged, options, bfloat16, scan; all unless given.
        threads: Threads.
        seconds: For each row.
        json: Print one object a row.
    """
    for name in tables:
        if name not in TABLES:
            raise ConfigError(f"there is no table {name!r}; choose among {', '.join(TABLES)}")
    for name in tables or TABLES:
        rows: list[Row] = []
        for case in TABLES[name](threads or torch.get_num_threads()):
            rows.append(measure(case, seconds=seconds))
            if json:
                print_json(rows[-1])
        if rows and not json:
            _print_table(name, rows)


@app.command
def stream(
    model: Path,
    /,
    *,
    interval: float = 20.0,
    budget: float = 20.0,
    seconds: float = 2.0,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Time a step of a live stream, and count the live streams that this machine holds.

    Args:
        model: A run or model folder.
        interval: Milliseconds from one chunk of a stream to its next; of sound, also how much of it a chunk holds.
        budget: Milliseconds within which the chunks of all streams must be done, 99 times of 100.
        seconds: For each number of streams.
        weights: Numbers of the packed weights of recurrent layers.
        common: How to report.
        machine: Where to compute.
    """
    task = open_model(model, machine)
    task.pack(weights)
    rows = []
    for row in measure_streams(task, interval=interval / 1000, budget=budget / 1000, seconds=seconds):
        rows.append(row)
        if not common.quiet and not common.json:
            print(f"{row.streams:5,} streams: p99 {row.p99:.2f} ms", file=sys.stderr)
    held, threads = most_streams(rows, budget=budget / 1000), torch.get_num_threads()
    if common.json:
        print_json({"task": task.name, "model": model, "threads": threads, "streams": held, "rows": rows})
        return
    cells = [
        (f"{row.streams:,}", f"{row.p50:.3f}", f"{row.p95:.3f}", f"{row.p99:.3f}", f"{row.share:.1%}") for row in rows
    ]
    heads = ("streams", "p50 ms", "p95 ms", "p99 ms", "of real time")
    print_rows(f"{model}: a chunk of every stream, {threads} thread{'s' if threads > 1 else ''}", heads, cells)
    print(f"within {budget:g} ms this machine holds {held:,} live streams that send every {interval:g} ms")


def _print_table(name: str, rows: list[Row]) -> None:
    rivals = list(dict.fromkeys(rival for row in rows for rival in row.times_faster))
    heads = [name, "µs", *(f"x {rival}" for rival in rivals), "of the limit"]
    cells = [
        [
            row.name,
            f"{row.microseconds[OURS]:,.2f}",
            *(f"{row.times_faster[rival]:.2f}" if rival in row.times_faster else "" for rival in rivals),
            "" if row.share_of_limit is None else f"{row.share_of_limit:.0%}",
        ]
        for row in rows
    ]
    threads = f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}"
    print_rows(f"{name} on {threads}: median time, and times faster than a rival", heads, cells)
