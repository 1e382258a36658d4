"""Forecasters as C: the running scale, the seasons, the calendar, and the head that says the quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.data.stamps import DAY, WEEK, Frequency
from rnnkit.errors import ConfigError
from rnnkit.export.c_network import add_stack
from rnnkit.export.c_source import Source, block, filled, number
from rnnkit.tasks.forecasting import Forecasting
from rnnkit.tasks.forecasting.calendar import YEAR_DAYS, calendar_periods
from rnnkit.tasks.forecasting.heads import STEP_SIZE
from rnnkit.tasks.forecasting.regression import MOST_SIZE
from rnnkit.tasks.forecasting.results import LEVELS, MEDIAN
from rnnkit.tasks.forecasting.scaling import LEAST_SPREAD, RunningScale
from rnnkit.tasks.forecasting.values import LARGEST
from rnnkit.tasks.forecasting.windows import SCALE_CHANGE

CYCLES = {
    "minute": "(double)(seconds - 60 * rnnkit_floor(seconds, 60)) / 60.0",
    "hour": "(double)(seconds - 3600 * rnnkit_floor(seconds, 3600)) / 3600.0",
    "day": f"(double)(seconds - {DAY} * days) / {DAY}.0",
    "week": f"(double)(seconds - {4 * DAY} - {WEEK} * rnnkit_floor(seconds - {4 * DAY}, {WEEK})) / {WEEK}.0",
    "month": "(double)(days - first) / (double)(rnnkit_month_begin(month + 1) - first)",
    "year": f"(double)(days - rnnkit_month_begin(12 * rnnkit_floor(month, 12))) / {YEAR_DAYS + 1!r}",
}


def forecaster_body(task: Forecasting, source: Source) -> str:
    """Write a forecaster.

    Args:
        task: Of quantiles, of one member, with nothing beside its values.
        source: Takes its weights.

    Returns:
        C, but for the header's frame.

    Raises:
        ConfigError: If it cannot be written, with the reason.
    """
    views, facts = task.views, task.facts
    _refuse(task)
    head: Any = task.network.head
    lags, features = views.lags.behind.shape[1], views.input_size
    state = add_stack(source, task.network.stacks[0], "values")
    sizes = {
        "horizon": views.horizon,
        "levels": len(LEVELS),
        "median": MEDIAN,
        "kept": views.look_back,
        "hidden": head.of_state.out_features,
        "state_size": head.of_state.in_features,
        "outputs": head.output.out_features,
        "inputs": head.of_step.in_features,
        "simple": lags + 3,
        "lags": lags,
        "recent": views.recent,
        "known": views.known_size,
        "regressed": head.regression.weights.shape[1],
        "step_size": STEP_SIZE,
        "features": features,
        "seasons": len(views.lags.seasons),
        "scratch": source.scratch,
    }
    words = {
        "name": source.name,
        "upper": source.name.upper(),
        "level_words": ", ".join(map(repr, LEVELS)),
        "fields": "\n".join(f"    {field}" for field in source.fields),
        "begin": block(source.reset),
        "step": block(source.step),
        "state": state,
        "most": number(MOST_SIZE),
        "largest": repr(LARGEST),
        "decay": repr(RunningScale.begin(views.half_life).decay),
        "least": repr(LEAST_SPREAD),
        "change": repr(SCALE_CHANGE),
        "transformed": "value = value > 0.0 ? log(value) : (double)NAN;" if facts.log else "",
        "restored": "exp(value)" if facts.log else "value",
        "calendar": block(_calendar(views.frequency)),
        "grid": _grid(views.frequency),
    }
    return filled("forecaster.h", {**_weights(task, source), **sizes, **words})


def _weights(task: Forecasting, source: Source) -> dict[str, str]:
    """Keep the constants of the head, and name them."""
    head: Any = task.network.head
    lags = task.views.lags
    return {
        "of_state": source.matrix("of_state", head.of_state.weight),
        "of_state_bias": source.weights("of_state_bias", head.of_state.bias),
        "of_step": source.matrix("of_step", head.of_step.weight),
        "between": source.matrix("between", head.between.weight),
        "between_bias": source.weights("between_bias", head.between.bias),
        "output": source.matrix("output", head.output.weight),
        "output_bias": source.weights("output_bias", head.output.bias),
        "steps": source.weights("steps", head.steps),
        "stretch": source.weights("stretch", head.stretch),
        "regression": source.weights("regression", head.regression.weights),
        "errors": source.weights("errors", head.regression.errors),
        "behind": source.weights("behind", lags.behind),
        "season_steps": source.weights("seasons", np.array(lags.seasons, dtype=np.int64)),
    }


def _refuse(task: Forecasting) -> None:
    config, views = task.config, task.views
    reasons = {
        f"draws its {config.distribution} forecasts": task.network.head.sampled,
        f"has {len(task.network.stacks)} members": len(task.network.stacks) > 1,
        f"looks at columns beside the values ({', '.join(views.columns)})": bool(views.columns),
        "reads a bounded context again for every forecast (--context)": views.context is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"the forecaster {reason}; that is not written as C")


def _calendar(frequency: Frequency) -> list[str]:
    """Write where a step stands in each cycle, the sines, then the cosines."""
    periods = calendar_periods(frequency)
    if not periods:
        return ["(void)out;", "(void)number;"]
    lines = [*_seconds(frequency), f"const long long days = rnnkit_floor(seconds, {DAY});"]
    lines.append("const long long month = rnnkit_month_of(days), first = rnnkit_month_begin(month);")
    lines.append(f"const double shares[{len(periods)}] = {{")
    lines += [f"    {CYCLES[period]}," for period in periods]
    lines += ["};", "(void)first;", f"for (int at = 0; at < {len(periods)}; ++at) {{"]
    lines.append(f"    out[at] = (float)sin({2 * np.pi!r} * shares[at]);")
    lines.append(f"    out[{len(periods)} + at] = (float)cos({2 * np.pi!r} * shares[at]);")
    return [*lines, "}"]


def _seconds(frequency: Frequency) -> list[str]:
    """Write the seconds from 1970 to a step, as `Frequency.stamps` gives them."""
    count, offset = frequency.count, frequency.offset
    if frequency.unit == "business day":
        return [
            "const long long day = number + 3, week = rnnkit_floor(day, 5); /* 1970 began on a Thursday */",
            f"const long long seconds = (7 * week + day - 5 * week - 3) * {DAY}LL + {offset};",
        ]
    if frequency.unit == "month":
        return [
            f"const long long at_month = number * {count} + {frequency.phase};",
            f"const long long wanted = rnnkit_month_begin(at_month) * {DAY}LL + {offset};",
            f"const long long last = (rnnkit_month_begin(at_month + 1) - 1) * {DAY}LL + {offset % DAY};",
            "const long long seconds = wanted < last ? wanted : last;",
        ]
    return [f"const long long seconds = number * {count}LL + {offset};"]


def _grid(frequency: Frequency) -> str:
    """Say how steps are numbered."""
    if frequency.unit == "step":
        return "any number, for steps have no dates"
    if frequency.unit == "month":
        return f"(months since January 1970 - {frequency.phase}) / {frequency.count}"
    if frequency.unit == "business day":
        return "business days since 1 January 1970"
    return f"(seconds since 1970 - {frequency.offset}) / {frequency.count}"
