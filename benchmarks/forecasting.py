"""Forecasts of public data: the test steps' metrics after a few minutes of training, simple methods beside them.

Each row trains on the steps before the test, the last of them held out for validation, and then forecasts from every
step of the test, reading on. Errors of points are given for single steps ahead too, in the data's own unit; of ETTh1 as
mean squared error of series standardised by the training steps, over all steps of the horizon, as its literature does.
Options are the defaults, but for those below; they were chosen on validation data, never on a test split. Needs
RNNKIT_DATA. Run alone on the machine: python benchmarks/forecasting.py [--commit]
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import rnnkit
from record import measure
from rnnkit.baselines.forecasts import METHODS
from rnnkit.checkpoint import load_baseline
from rnnkit.tasks import Forecasting
from rnnkit.tasks.forecasting.results import MEDIAN
from rnnkit.tasks.forecasting.scoring import Origins


@dataclass(frozen=True)
class Data:
    """A set: its file, where its test begins and ends, and how to learn from it."""

    path: str
    horizon: int
    minutes: float
    train_rows: int | None = None
    """Rows before the test; None where the test is a file of its own."""
    test_path: str | None = None
    last_row: int | None = None
    """Rows after it are not used."""
    header: bool = True
    steps: tuple[int, ...] = ()
    """Steps ahead whose errors are given."""
    options: dict[str, Any] = field(default_factory=dict)


M4 = "timeseries/m4-hourly/Hourly"
ETTH1 = "timeseries/etth1/ETTh1.csv"
PM25 = {"target_column": "pm2.5", "time_column": "year,month,day,hour", "past_columns": "DEWP,TEMP,PRES,cbwd,Iws,Is,Ir"}
WEATHER = {"target_column": "temp_max", "past_columns": "precipitation,temp_min,wind"}
DATA = {
    "m4-hourly": Data(f"{M4}-train.csv.gz", 48, 4.5, test_path=f"{M4}-test.csv"),
    "seattle-temp-max": Data(
        "timeseries/seattle-weather/seattle-weather.csv", 7, 2, train_rows=1096, steps=(1, 7), options=WEATHER
    ),
    "beijing-pm25": Data(
        "timeseries/beijing-pm25/pollution.csv.gz", 24, 4.5, train_rows=35_064, steps=(1, 24), options=PM25
    ),
    "exchange-rate": Data(
        "timeseries/exchange-rate/exchange_rate.txt", 24, 3, train_rows=6070, header=False, steps=(3, 6, 12, 24)
    ),
    "sp500": Data(
        "timeseries/stocks/sp500.csv", 5, 3, train_rows=4025, steps=(1, 5), options={"target_column": "Close"}
    ),
    **{
        f"etth1-{horizon}": Data(
            ETTH1,
            horizon,
            4.5,
            train_rows=11_520,
            last_row=14_400,
            options={"context": 96, "valid_share": 0.25},
        )
        for horizon in (96, 192, 336, 720)
    },
}
ROWS = [
    {"data": name, "minutes": one.minutes, "horizon": one.horizon, "seed": seed}
    for name, one in DATA.items()
    for seed in (1, 2, 3)
]


def run(row: dict[str, Any]) -> dict[str, Any]:
    data = DATA[row["data"]]
    root = Path(os.environ["RNNKIT_DATA"])
    with tempfile.TemporaryDirectory() as place:
        train, test = split(root, data, Path(place))
        result = rnnkit.train(
            "forecast",
            train,
            run=Path(place) / "run",
            horizon=data.horizon,
            minutes=data.minutes,
            seed=row["seed"],
            **data.options,
        )
        if result.stopped_by is not None:
            raise KeyboardInterrupt  # what a stopped run has learnt is no row
        model = result.model
        assert isinstance(model, Forecasting)
        encoded = model.encode(model.read([test], model.config))
        compared = model.compare(load_baseline(model, result.run), encoded)
        return {
            "options": data.options,
            "metrics": compared.metrics,
            "baselines": compared.baselines,
            "against": compared.against,
            "by_step": by_step(model, encoded, data.steps),
            **({"standardised": standardised(model, encoded)} if row["data"].startswith("etth1") else {}),
            "validation": result.metrics,
            "seconds": result.seconds,
            "steps": result.steps,
            "origins": len(encoded.origins),
            "parameters": sum(p.numel() for p in model.network.parameters()),
        }


def split(root: Path, data: Data, place: Path) -> tuple[Path, Path]:
    """Name the file to learn from and the one that goes on to the test's end."""
    if data.train_rows is None:
        assert data.test_path is not None
        return root / data.path, root / data.test_path
    table = pl.read_csv(root / data.path, has_header=data.header, infer_schema=False)
    files = []
    for name, rows in (("train.csv", data.train_rows), ("test.csv", data.last_row or table.height)):
        table.head(rows).write_csv(place / name, include_header=data.header)
        files.append(place / name)
    return files[0], files[1]


def by_step(model: Forecasting, data: Any, steps: Sequence[int]) -> dict[str, dict[str, float]]:
    """Measure errors of the median some steps ahead, those of the last value beside them."""
    origins = Origins(model, data, data.origins)
    medians = model.quantiles(data, data.origins)[..., MEDIAN]
    last, actual = origins.by_method(METHODS["naive"]), origins.actual
    found = {}
    for step in steps:
        errors = {name: one[:, step - 1] - actual[:, step - 1] for name, one in (("model", medians), ("naive", last))}
        found[str(step)] = {
            f"{name}_{metric}": value
            for name, one in errors.items()
            for metric, value in (
                ("mae", float(np.nanmean(np.abs(one)))),
                ("rmse", float(np.sqrt(np.nanmean(one**2)))),
            )
        }
    return found


def standardised(model: Forecasting, data: Any) -> dict[str, float]:
    """Measure squared and absolute errors in units of each series' deviation over the first 8,640 steps."""
    deviations = np.array([np.std(data.values[index][:8640]) for index in range(len(data))])[data.origins[:, 0]]
    errors = model.quantiles(data, data.origins)[..., MEDIAN] - Origins(model, data, data.origins).actual
    scaled = errors / deviations[:, None]
    return {"mse": float((scaled**2).mean()), "mae": float(np.abs(scaled).mean())}


if __name__ == "__main__":
    measure("forecasting", ROWS, run)
