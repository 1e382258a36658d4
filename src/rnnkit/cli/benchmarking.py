"""`rnnkit benchmark`: how fast it is on this machine."""

from __future__ import annotations

from typing import Annotated

import torch
from cyclopts import App, Parameter

from rnnkit.benchmarking import OURS, TABLES, Row, measure
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
