"""Keep measurements: one JSON line a finished row, beside what is needed to judge it."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import rnnkit

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent


def machine() -> dict[str, Any]:
    """Name the processor, the threads and the versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    bfloat16 = any("avx512_bf16" in line or "amx_bf16" in line for line in lines)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16": bfloat16,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rnnkit": rnnkit.__version__,
    }


def commit_hash() -> str:
    """Return the commit that is measured, with a + if the tree differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")


def finished(name: str) -> list[dict[str, Any]]:
    """Read the rows that are there already."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def measure(
    name: str,
    rows: Iterable[dict[str, Any]],
    run: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    table: Callable[[], None] | None = None,
) -> None:
    """Run every row that has no result yet, and keep each as soon as it is there.

    `--commit` also commits each; `--again` measures all rows anew, below the old ones; `--table` calls `table` instead.
    """
    parser = argparse.ArgumentParser(description=f"measure {name}")
    parser.add_argument("--commit", action="store_true", help="commit each finished row")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result already")
    parser.add_argument("--only", help="measure the rows whose JSON holds this text")
    if table is not None:
        parser.add_argument("--table", action="store_true", help="print what came of it as Markdown")
    options = parser.parse_args()
    if table is not None and options.table:
        table()
        return
    path = RESULTS / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    done = [] if options.again else [row["row"] for row in finished(name)]
    for row in rows:
        if row in done or (options.only and options.only not in json.dumps(row)):
            continue
        load = os.getloadavg()[0]
        began = datetime.now(UTC).isoformat(timespec="seconds")
        result = {"row": row, **run(row), "began": began, "load_before": load, "commit": commit_hash()}
        with path.open("a") as file:
            file.write(json.dumps({**result, "machine": machine()}) + "\n")
        print(json.dumps(result), flush=True)
        if options.commit:
            message = f"benchmarks: {name} {' '.join(f'{k} {v}' for k, v in row.items())}"[:72]
            subprocess.run(["git", "add", str(path)], cwd=ROOT, check=True)
            subprocess.run(["git", "commit", "-q", "-m", message, "--", str(path)], cwd=ROOT, check=True)
