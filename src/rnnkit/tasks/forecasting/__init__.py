"""Forecasting: how the next steps of series are distributed, told from every step before."""

from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.task import Forecasting

__all__ = ["Forecasting", "ForecastingConfig"]
