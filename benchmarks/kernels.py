"""The tables of `rnnkit benchmark kernels`: ours beside torch.nn and onnxruntime, interleaved, on one thread and two.

Wants onnx and onnxruntime installed beside rnnkit, or their columns stay empty.
Run alone on the machine: python benchmarks/kernels.py [--commit]
"""

from typing import Any

from record import measure
from rnnkit import benchmarking
from rnnkit.kernels.core import core

ROWS = [
    {"table": table, "threads": threads}
    for table in benchmarking.TABLES
    for threads in ((1,) if table == "step" else (1, 2))
]


def run(row: dict[str, Any]) -> dict[str, Any]:
    found = [benchmarking.measure(case) for case in benchmarking.TABLES[row["table"]](row["threads"])]
    return {
        "level": core.level(),
        "cases": [
            {
                "case": one.name,
                "microseconds": {name: round(value, 2) for name, value in one.microseconds.items()},
                "times faster than": {name: round(value, 2) for name, value in one.times_faster.items()},
                "of the limit": round(one.share_of_limit or 0, 2),
                "limits": {name: round(value, 2) for name, value in one.limits.items()},
                "quiet samples": one.quiet,
            }
            for one in found
        ],
    }


if __name__ == "__main__":
    measure("kernels", ROWS, run)
