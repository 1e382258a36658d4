"""Seconds until the command line answers: `rnnkit --help`, and 500 characters written from a trained model.

python benchmarks/startup.py [--commit]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rnnkit
from record import measure
from rnnkit.tasks import LanguageModel

RUNS = 9
RNNKIT = str(Path(sys.executable).parent / "rnnkit")
ROWS = [{"command": "--help"}, *({"command": "generate", "hidden_size": size} for size in (384, 512, 1024))]


def seconds(words: list[str]) -> list[float]:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=os.environ)
        times.append(time.perf_counter() - began)
    return times


def run(row: dict[str, Any]) -> dict[str, Any]:
    if row["command"] == "--help":
        times = seconds([RNNKIT, "--help"])
    else:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "run"
            sample = LanguageModel.demo_data()
            rnnkit.train("language-model", sample, run=folder, steps=2, hidden_size=row["hidden_size"])
            words = [RNNKIT, "generate", str(folder), "--prompt", "ROMEO:", "--max-tokens", "500"]
            times = seconds([*words, "--temperature", "0.8"])
    return {"median seconds": statistics.median(times), "worst": max(times), "runs": RUNS}


if __name__ == "__main__":
    measure("startup", ROWS, run)
