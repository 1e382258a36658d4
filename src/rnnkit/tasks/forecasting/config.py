"""The options of a forecaster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnkit.data.panel_files import PanelColumns
from rnnkit.errors import ConfigError
from rnnkit.tasks.options import StackOptions, TableOptions, refuse_no_share, refuse_outside


@dataclass(frozen=True)
class ForecastingConfig(TableOptions, StackOptions):
    """How series are read, how far they are forecast, and how large the network is."""

    horizon: int = 24
    """Steps that are forecast."""
    time_column: str | None = None
    """Heading or number (from 1) of the column of time stamps, or of several with commas between (year,month,day);
    unset finds it out."""
    target_column: str | None = None
    """Heading or number of the values, or of several with commas between, each a series; unset finds it out."""
    id_column: str | None = None
    """Heading or number of the column that tells the series of a long table apart; unset finds it out."""
    past_columns: str | None = None
    """Headings of what is known up to the present only, with commas between."""
    future_columns: str | None = None
    """Headings of what is known ahead too (holidays, prices), with commas between."""
    static_columns: str | None = None
    """Headings of what does not change within a series, with commas between."""
    table_layout: Literal["auto", "table", "rows"] = "auto"
    """Whether a row of the table is a step or a whole series."""
    distribution: Literal["quantiles", "student-t", "negative-binomial"] = "quantiles"
    """quantiles says those of all steps at once; the others say how the next value is distributed (negative-binomial: a
    count) and forecast by drawing it, reading it, and so on."""
    season: str | None = None
    """Steps of a season, or of several with commas between (24,168); unset takes those of the calendar, or where there
    is none, the one the training series repeat after."""
    transform: Literal["none", "log"] = "none"
    """log forecasts the logarithm, of values that are all above 0 and grow by shares."""
    half_life: float | None = None
    """A value counts half in the running level and spread after so many steps; unset takes the longest season."""
    context: int | None = None
    """Read so many steps before each forecast and nothing earlier; unset carries the state through all of them."""
    valid_share: float = 0.1
    """Share of the steps kept for validation, the last of all, where no file is given; at least one horizon."""
    test_from: str | None = None
    """Neither train nor validate on the steps from this time stamp (or number) on: they are for `evaluate --test-from`.
    """
    members: int = 1
    """Networks that learn side by side from different first weights, and forecast the mean of their quantiles."""
    layer: str = "gru"
    num_layers: int = 2
    hidden_size: int = 64
    residual: bool = True
    dropout: float = 0.3

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        self.check_stack()
        self.check_table()
        refuse_outside(self, ("horizon", "context", "members"), least=1)
        refuse_outside(self, ("half_life",), least=1)
        if self.distribution != "quantiles" and self.context is not None:
            raise ConfigError(
                f"context is {self.context} and distribution {self.distribution}, which reads on from what it draws; "
                "expected distribution quantiles, or no context"
            )
        if self.distribution != "quantiles" and self.members > 1:
            raise ConfigError(
                f"members is {self.members}, whose quantiles are averaged; expected distribution quantiles"
            )
        if self.distribution == "negative-binomial" and self.transform == "log":
            raise ConfigError("transform is log, but a negative-binomial model forecasts counts; expected none")
        refuse_no_share(self, "valid_share", below=0.5)
        if self.season is not None and not all(part.strip().isdecimal() and int(part) for part in self._seasons):
            raise ConfigError(f"season is {self.season!r}; expected whole numbers of steps, as 24 or 24,168")

    @property
    def _seasons(self) -> list[str]:
        return [] if self.season is None else self.season.split(",")

    @property
    def seasons(self) -> tuple[int, ...]:
        """The seasons given, in rising order."""
        return tuple(sorted({int(part) for part in self._seasons if int(part) > 1}))

    @property
    def columns(self) -> PanelColumns:
        """Where times, values and what is known beside them stand."""
        past, future, static = (
            tuple(part.strip() for part in (names or "").split(",") if part.strip())
            for names in (self.past_columns, self.future_columns, self.static_columns)
        )
        return PanelColumns(
            time=self.time_column,
            target=self.target_column,
            id=self.id_column,
            past=past,
            future=future,
            static=static,
            layout=self.table_layout,
            delimiter=self.cell_delimiter,
            header=self.header,
        )
