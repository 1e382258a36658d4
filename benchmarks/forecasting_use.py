"""What forecasts cost: milliseconds of an update and of a forecast, and the memory and time of training on many series.

The history's length must not matter to an update. Series are hourly sines and noise.
Run alone on the machine: python benchmarks/forecasting_use.py [--commit]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import rnnkit
from record import measure

ROUNDS = 300
CHILD = """
import json, resource, sys, time, rnnkit
began = time.perf_counter()
result = rnnkit.train("forecast", sys.argv[1], run=sys.argv[2], horizon=24)
done = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak bytes": peak, "seconds": done, "steps": result.steps,
    "metrics": result.metrics, "baselines": result.baselines}))
"""
ROWS = [
    *({"what": "one series", "steps": steps, "threads": 1} for steps in (1_000, 100_000)),
    {"what": "training", "series": 1_000, "steps": 1_000},
]


def run(row: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_series(folder / "series.csv", count=row.get("series", 1), steps=row["steps"])
        if row["what"] == "training":
            command = [sys.executable, "-c", CHILD, str(folder / "series.csv"), str(folder / "run")]
            return json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
        rnnkit.train("forecast", folder / "series.csv", run=folder / "run", horizon=24, steps=20)
        torch.set_num_threads(row["threads"])
        return latencies(folder / "run", row["steps"])


def write_series(path: Path, *, count: int, steps: int) -> None:
    generator = np.random.default_rng(1)
    waves = 10 + 3 * np.sin(2 * np.pi * np.arange(steps) / 24) + generator.normal(size=(count, steps))
    table = {"ds": stamps(0, steps) * count, "y": waves.reshape(-1)}
    names = {"id": np.repeat([f"s{number}" for number in range(count)], steps)} if count > 1 else {}
    pl.DataFrame({**names, **table}).write_csv(path)


def stamps(first: int, count: int) -> list[str]:
    hours = np.datetime64("2000-01-01T00") + np.arange(first, first + count)
    return [str(hour).replace("T", " ") + ":00" for hour in hours]


def latencies(folder: Path, steps: int) -> dict[str, Any]:
    model = rnnkit.load(folder)
    assert isinstance(model, rnnkit.tasks.Forecasting)
    model.predict()
    hours = iter(stamps(steps, 3 * ROUNDS))
    live = model.stream(series="y")
    table = pl.DataFrame({"ds": [""], "y": [10.5]})
    return {
        "update by a polars frame": milliseconds(lambda: table.with_columns(ds=pl.lit(next(hours))), model.update),
        "update by a mapping": milliseconds(lambda: {"ds": [next(hours)], "y": [10.5]}, model.update),
        "push and forecast": milliseconds(lambda: [10.5], live.push),
        "predict": milliseconds(lambda: None, lambda _: model.predict()),
    }


def milliseconds(make: Callable[[], Any], use: Callable[[Any], Any]) -> dict[str, float]:
    times = []
    for _ in range(ROUNDS):
        given = make()
        began = time.perf_counter()
        use(given)
        times.append(1000 * (time.perf_counter() - began))
    return {"median": float(np.median(times)), "99 %": float(np.quantile(times, 0.99))}


if __name__ == "__main__":
    measure("forecasting-use", ROWS, run)
