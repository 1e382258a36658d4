"""`rnnkit predict` and `stream` for forecasters: tables, files and pictures of what comes next."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from rnnkit.checkpoint import writing
from rnnkit.cli.options import Common, arriving_text
from rnnkit.cli.output import print_json, print_rows, refuse_without_folder
from rnnkit.errors import ConfigError, DataError
from rnnkit.figures import ForecastPanel, forecast_panels
from rnnkit.tasks import Forecasting
from rnnkit.tasks.forecasting import Forecast, TickEvent

MOST_ROWS = 100  # of a table of forecasts; --json and --output give all
OUTPUTS = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class ForecastOptions:
    """Of a forecaster: how far, and where the answer goes."""

    horizon: int | None = None
    """Of a forecaster: steps to forecast; as many as it was trained for unless given."""
    plot: Path | None = None
    """Of a forecaster: draw history, median and intervals of the first series into this PNG."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return [f"--{name}" for name in ("horizon", "plot") if getattr(self, name) is not None]


def predict_series(
    task: Forecasting,
    words: str | None,
    *,
    file: Path | None,
    options: ForecastOptions,
    output: Path | None,
    common: Common,
) -> None:
    """Forecast known series: all, one by name, or those that a file brings new observations of.

    Args:
        task: The forecaster.
        words: A name, or a file; None is all series.
        file: A file of new observations.
        options: How far, and where to.
        output: A file for the forecasts, .csv, .json or .parquet.
        common: How to report.
    """
    if output is not None and output.suffix not in OUTPUTS:
        raise ConfigError(f"--output is {output}; expected a name that ends in {', '.join(OUTPUTS)}")
    refuse_without_folder(output=output, plot=options.plot)
    path = file if file is not None else Path(words) if words is not None and Path(words).is_file() else None
    names = None if words is None and file is None else [str(words)] if path is None else task.read_inputs(path)
    found = task.predict(names, horizon=options.horizon)
    if common.json:
        for one in found:
            print_json(one)
    elif output is None:
        _show(found)
    if output is not None:
        _write(found, output)
        _say(f"written: {output}", common)
    if options.plot is not None:
        with writing(options.plot.parent):
            panels = [ForecastPanel(one.series, task.recent(one.series), one.quantiles) for one in found]
            forecast_panels(panels, options.plot)
        _say(f"drawn: {options.plot}", common)


def _say(words: str, common: Common) -> None:
    """Say what was done, where tables are printed and not JSON."""
    if not common.json:
        print(words)


def _show(found: Sequence[Forecast]) -> None:
    rows = [
        (escape(one.series), time, *(f"{value:.5g}" for value in values))
        for one in found
        for time, *values in zip(one.times, one.median, one.quantiles["0.1"], one.quantiles["0.9"], strict=True)
    ]
    title = f"{len(found):,} series, {len(found[0].times) if found else 0:,} steps ahead; the interval holds 80 %"
    print_rows(title, ("series", "time", "median", "from", "to"), rows[:MOST_ROWS], left=("time",))
    if len(rows) > MOST_ROWS:
        print(f"... and {len(rows) - MOST_ROWS:,} more; --json and --output give all of them")


def _write(found: Sequence[Forecast], path: Path) -> None:
    import polars as pl

    levels = list(found[0].quantiles) if found else []
    columns: dict[str, list[str] | list[float]] = {
        "series": [one.series for one in found for _ in one.times],
        "time": [time for one in found for time in one.times],
        "median": [value for one in found for value in one.median],
    }
    columns |= {level: [value for one in found for value in one.quantiles[level]] for level in levels}
    table = pl.DataFrame(columns)
    with writing(path.parent):
        {".csv": table.write_csv, ".json": table.write_json, ".parquet": table.write_parquet}[path.suffix](path)


def stream_series(task: Forecasting, common: Common) -> None:
    """Follow a table on standard input, a row an observation, or bare values, one a line.

    Args:
        task: The forecaster.
        common: How to report.

    Raises:
        DataError: If a row does not fit.
    """
    live = task.ticker()
    headings: list[str] | None = None
    begun = False
    for number, line in enumerate(arriving_text(longest=-1), start=1):
        where = f"standard input, line {number}"
        if not line.strip():
            continue
        cells = next(csv.reader([line.strip()]))
        if not begun and headings is None and not _is_value(cells):
            headings = [cell.strip() for cell in cells]
            continue
        if headings is not None and len(cells) != len(headings):
            raise DataError(f"{where}: {len(cells)} cells; expected {len(headings)}: {', '.join(headings)}.")
        begun = True
        if headings is None:
            events = live.push_value(cells[0], where=where)
        else:
            row = {name: [cell] for name, cell in zip(headings, cells, strict=True)}
            events = live.push_row(row, place=("standard input", number))
        for event in events:
            print_json(event) if common.json else print(_line(event), flush=True)


def _is_value(cells: Sequence[str]) -> bool:
    """Whether a line is a bare value."""
    try:
        float(cells[0] or "nan")
    except ValueError:
        return False
    return len(cells) == 1


def _line(event: TickEvent) -> str:
    value = "missing" if event.value is None else f"{event.value:.5g}"
    expected = (
        "" if event.expected is None else f"  expected {event.expected:.5g} ({event.low:.5g} to {event.high:.5g})"
    )
    errors = ""
    if event.error is not None and event.naive_error is not None:
        errors = f"  error {event.error:.4g}, of the last value {event.naive_error:.4g}"
    following = event.forecast.median[0]
    return f"{event.series}\t{event.time}\t{value}{expected}\tnext {following:.5g}{errors}"
