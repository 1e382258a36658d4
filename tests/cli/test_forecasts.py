"""Forecasts on the command line: files and pictures of them, and what is refused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.data.samples import sample_path

HORIZON = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecasts")
    pl.read_csv(sample_path("weather")).head(100).write_csv(folder / "few.csv")
    small = {"hidden_size": 4, "steps": 1, "threads": 1, "device": "cpu", "precision": "32-true"}
    rnnkit.train("forecast", folder / "few.csv", run=folder / "run", horizon=HORIZON, target_column="temp_max", **small)
    return folder / "run"


def test_forecasts_go_into_files_and_a_picture(run: Path, tmp_path: Path, capsys: Any):
    assert main(["predict", str(run), "--json"]) == 0
    (said,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet)):
        output = tmp_path / f"forecast{suffix}"
        assert main(["predict", str(run), "--output", str(output), "--plot", str(tmp_path / "a.png")]) == 0
        assert read(output)["median"].to_list() == pytest.approx(said["median"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "nowhere/a.csv"], "--output is nowhere/a.csv, but there is no folder nowhere"),
        (["--plot", "nowhere/a.png"], "--plot is nowhere/a.png, but there is no folder nowhere"),
        (["--output", "a.txt"], "--output is a.txt; expected a name that ends in"),
        (["--horizon", "9"], f"horizon is 9; the model forecasts 1 to {HORIZON} steps"),
        (["atlantis"], "there is no series 'atlantis'; expected one of temp_max"),
    ],
)
def test_what_cannot_be_done_is_said_before_it_is_tried(words: list[str], message: str, run: Path, capsys: Any):
    assert main(["predict", str(run), *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out
