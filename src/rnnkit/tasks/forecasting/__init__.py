"""Forecasting: how the next steps of series are distributed, told from every step before."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.config import ForecastingConfig
    from rnnkit.tasks.forecasting.results import Forecast, TickEvent
    from rnnkit.tasks.forecasting.scoring import narrowed
    from rnnkit.tasks.forecasting.stream import ForecastStream
    from rnnkit.tasks.forecasting.task import Forecasting

__all__ = ["Forecast", "ForecastStream", "Forecasting", "ForecastingConfig", "TickEvent", "narrowed"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("ForecastingConfig",),
        ".results": (
            "Forecast",
            "TickEvent",
        ),
        ".scoring": ("narrowed",),
        ".stream": ("ForecastStream",),
        ".task": ("Forecasting",),
    },
)
