"""Models that others wrote, before and after `rnnkit.accelerate`: a step of training, and a forecast.

Wants, beside rnnkit: pip install darts "gluonts[torch]" neuralforecast pytorch-lightning. Needs RNNKIT_DATA.
Run alone on the machine: python benchmarks/accelerate.py [--commit]
"""

import copy
import csv
import logging
import os
import warnings
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from record import measure
from rnnkit import accelerate
from rnnkit.benchmarking import interleave

CONTEXT, HORIZON = 96, 24  # hours
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


class Foreign(NamedTuple):
    """A model of another library, with what its library does with it."""

    module: nn.Module
    loss: Callable[[Any], Tensor]
    forecast: Callable[[Any], Tensor]


def oil_temperatures() -> tuple[list[datetime], np.ndarray]:
    """Read the target of ETTh1's training part: 8,640 hours."""
    with (Path(os.environ["RNNKIT_DATA"]) / "timeseries" / "etth1" / "ETTh1.csv").open() as file:
        rows = list(csv.DictReader(file))[:8640]
    return [datetime.fromisoformat(row["date"]) for row in rows], np.array([row["OT"] for row in rows], np.float32)


def caught(module: nn.Module, fit: Callable[[], object]) -> Foreign:
    """Fit for a step, and keep what the module was called with."""
    calls: list[Any] = []
    hook = module.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    fit()
    hook.remove()

    def run(model: Any) -> Tensor:
        found = model(*calls[0])
        return getattr(found, "prediction", found)

    return Foreign(module, lambda model: run(model).square().mean(), run)


def darts_lstm() -> Foreign:
    from darts import TimeSeries
    from darts.models import RNNModel

    series = TimeSeries.from_values(oil_temperatures()[1])
    model = RNNModel(
        input_chunk_length=CONTEXT,
        training_length=CONTEXT + HORIZON,
        model="LSTM",
        hidden_dim=64,
        n_rnn_layers=2,
        pl_trainer_kwargs={**QUIET, "max_steps": 1},
    )
    model.fit(series)  # only now there is a module
    return caught(model.model, lambda: model.fit(series, epochs=2))


def neuralforecast_gru() -> Foreign:
    import pandas
    from neuralforecast import NeuralForecast
    from neuralforecast.models import GRU

    hours, values = oil_temperatures()
    frame = pandas.DataFrame({"unique_id": "OT", "ds": hours, "y": values})
    model = GRU(h=HORIZON, input_size=CONTEXT, windows_batch_size=32, max_steps=1, **QUIET)
    return caught(model, lambda: NeuralForecast(models=[model], freq="h").fit(frame))


def gluonts_deepar() -> Foreign:
    from gluonts.torch.model.deepar.module import DeepARModel

    model = DeepARModel(freq="h", context_length=CONTEXT, prediction_length=HORIZON)
    hours, values = oil_temperatures()
    past = CONTEXT + max(model.lags_seq)
    starts = np.random.default_rng(0).integers(0, len(values) - past - HORIZON, 32)
    windows = torch.from_numpy(np.stack([values[start : start + past + HORIZON] for start in starts]))
    clock = torch.tensor([hour.hour / 23 - 0.5 for hour in hours])
    times = torch.stack([clock[start : start + past + HORIZON] for start in starts.tolist()])[..., None]
    batch = {
        "feat_static_cat": torch.zeros(32, 1, dtype=torch.long),
        "feat_static_real": torch.zeros(32, 1),
        "past_time_feat": times[:, :past],
        "past_target": windows[:, :past],
        "past_observed_values": torch.ones(32, past),
        "future_time_feat": times[:, past:],
    }
    seen = {"future_target": windows[:, past:], "future_observed_values": torch.ones(32, HORIZON)}

    def forecast(module: Any) -> Tensor:
        torch.manual_seed(0)
        return module(**batch).median(1).values  # of 100 sampled paths

    return Foreign(model, lambda module: module.loss(**batch, **seen).mean(), forecast)


MODELS = {"darts RNNModel": darts_lstm, "neuralforecast GRU": neuralforecast_gru, "gluonts DeepAR": gluonts_deepar}
ROWS = [{"model": name, "threads": threads} for name in MODELS for threads in (1, 2)]


def train(foreign: Foreign, module: nn.Module) -> list[Tensor]:
    module.train()
    torch.manual_seed(0)  # of the dropout
    return list(torch.autograd.grad(foreign.loss(module), list(module.parameters()), allow_unused=True))


def predict(foreign: Foreign, module: nn.Module) -> list[Tensor]:
    module.eval()
    with torch.no_grad():
        return [foreign.forecast(module)]


def difference(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b is not None]
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item() for a, b in pairs)


def run(row: dict[str, Any]) -> dict[str, Any]:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(row["threads"])
    foreign = MODELS[row["model"]]()
    ours = accelerate(copy.deepcopy(foreign.module))
    found: dict[str, Any] = {}
    for name, act in {"training step": train, "forecast": predict}.items():
        functions = {"rnnkit": partial(act, foreign, ours), "torch.nn": partial(act, foreign, foreign.module)}
        timings = interleave(functions, seconds=10)
        found[name] = {
            "milliseconds": {one: round(timing.seconds * 1e3, 3) for one, timing in timings.items()},
            "times faster": round(timings["torch.nn"].seconds / timings["rnnkit"].seconds, 2),
            "largest relative difference": difference(functions["rnnkit"](), functions["torch.nn"]()),
            "quiet samples": min(timing.quiet for timing in timings.values()),
        }
    recurrent = next(module for module in foreign.module.modules() if isinstance(module, nn.RNNBase))
    return {"recurrent": repr(recurrent), **found}


if __name__ == "__main__":
    measure("accelerate", ROWS, run)
