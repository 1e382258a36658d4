"""Forecasting: how the next steps of series are distributed, told from every step before."""

from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.results import Forecast, TickEvent
from rnnkit.tasks.forecasting.scoring import narrowed
from rnnkit.tasks.forecasting.stream import ForecastStream
from rnnkit.tasks.forecasting.task import Forecasting

__all__ = ["Forecast", "ForecastStream", "Forecasting", "ForecastingConfig", "TickEvent", "narrowed"]
