"""Forecasters: nothing of the future in a forecast, updates equal to reading anew, files of many shapes."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import rnnkit
from rnnkit.baselines.forecasts import naive2, seasonal_naive
from rnnkit.data.panel_files import PanelColumns, read_panel_file
from rnnkit.data.ragged import Ragged
from rnnkit.data.samples import sample_path
from rnnkit.errors import ConfigError, DataError
from rnnkit.metrics.forecasts import forecast_metrics, naive_scales
from rnnkit.tasks import Forecasting
from rnnkit.tasks.forecasting import narrowed, present
from rnnkit.tasks.forecasting.examples import encode_part
from rnnkit.tasks.forecasting.origins import forecast_origins
from rnnkit.tasks.forecasting.present import Present
from rnnkit.tasks.forecasting.scaling import running_scales

TINY = {"hidden_size": 6, "horizon": 4, "steps": 3, "threads": 1, "device": "cpu", "precision": "32-true"}
WEATHER = {"target_column": "temp_max", "past_columns": "wind,weather", "future_columns": "precipitation"}


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Forecasting]:
    """Train on the bundled weather, once for each set of options."""
    made: dict[str, Any] = {}

    def get(**options: Any) -> Forecasting:
        key = repr(sorted(options.items()))
        if key not in made:
            run = tmp_path_factory.mktemp("forecaster") / "run"
            made[key] = rnnkit.train("forecast", sample_path("weather"), run=run, **{**TINY, **options}).model
        return made[key]

    return get


def sine(length: int = 400, *, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=length)
    return 10 + 3 * np.sin(np.arange(length) / 3) + 0.3 * noise


def write(path: Path, columns: dict[str, Any]) -> Path:
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.mark.parametrize("context", [None, 20])
def test_no_forecast_sees_the_future(context: int | None, forecaster: Callable[..., Forecasting], tmp_path: Path):
    model = forecaster(context=context, **WEATHER)
    frame = pl.read_csv(sample_path("weather"))
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) >= 1000).then(-99.0).otherwise(pl.col(name)).alias(name)
        for name in ("temp_max", "wind")
    )
    origins = np.array([[0, seen] for seen in (30, 600, 999, 1000)])
    found = []
    for table in (frame, changed):
        part = model.read([write(tmp_path / "table.csv", table.to_dict(as_series=False))], model.config)
        data = encode_part(part, model.facts, model.config)
        found.append(model.quantiles(data, origins))
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    "options", [{}, {"context": 30}, {"members": 2, "layer": "lstm"}, {"layer": "lstm", "num_layers": 1}, WEATHER]
)
def test_updates_equal_reading_the_history_anew(options: dict[str, Any], forecaster: Callable[..., Forecasting]):
    model = forecaster(**options)
    whole = model.memory
    lengths = whole.values.lengths
    series = np.arange(len(whole))
    origins = np.stack([series, lengths], axis=1)
    expected = forecast_origins(model.network, model.views, whole, origins)
    read = Present.read(model.network, model.views, whole)
    assert np.allclose(read.forecast(model.network, model.views, series), expected, rtol=1e-5, atol=1e-5)


def test_an_update_by_frames_goes_on_as_the_longer_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = sine()
    days = [str(day) for day in np.arange("2020-01-01", 400, dtype="datetime64[D]")]
    short = write(tmp_path / "short.csv", {"ds": days[:380], "y": values[:380]})
    long = write(tmp_path / "long.csv", {"ds": days, "y": values})
    first = rnnkit.train("forecast", short, run=tmp_path / "a", **TINY).model
    again = rnnkit.load(tmp_path / "a")
    assert first.update(pl.DataFrame({"ds": days[380:383], "y": values[380:383]})) == ["y"]
    monkeypatch.setattr(present, "STEPS_AT_ONCE", 7)
    first.update({"ds": days[383:], "y": values[383:]})
    monkeypatch.undo()
    again.read_inputs(long)
    (one,), (other,) = first.predict(), again.predict()
    assert one.times == other.times == ("2021-02-04", "2021-02-05", "2021-02-06", "2021-02-07")
    assert np.allclose(one.median, other.median, rtol=1e-5)


def test_a_gap_advances_the_state_and_a_late_tick_counts_no_more(tmp_path: Path):
    days = [str(day) for day in np.arange("2020-01-01", 400, dtype="datetime64[D]")]
    model = rnnkit.train(
        "forecast", write(tmp_path / "a.csv", {"ds": days[:300], "y": sine()[:300]}), run=tmp_path / "a", **TINY
    ).model
    live = model.ticker()
    events = live.push_row({"ds": [days[303]], "y": ["7.5"]})
    assert [event.value for event in events] == [None, None, None, 7.5]
    assert [event.time for event in events] == days[300:304]
    assert live.push_row({"ds": [days[302]], "y": ["1"]}) == []
    assert all(math.isfinite(value) for event in events for value in event.forecast.median)
    with pytest.raises(DataError, match="standard input:7: target column 'y' is 'many'"):
        live.push_row({"ds": [days[304]], "y": ["many"]}, place=("standard input", 7))
    with pytest.raises(DataError, match="line 8: 'x' is no number"):
        live.push_value("x", where="line 8")


def test_quantiles_never_cross_and_are_finite(forecaster: Callable[..., Forecasting]):
    model = forecaster()
    odd = [np.full(50, 3.0), np.array([1e12, -1e12, 0.0] * 9), np.zeros(3), np.array([np.nan, 5.0, np.nan])]
    for one in model.predict([*odd, sine()]):
        levels = np.array(list(one.quantiles.values()))
        assert np.isfinite(levels).all()
        assert (np.diff(levels, axis=0) >= 0).all()


def test_it_learns_what_no_season_repeats(tmp_path: Path):
    steps = np.arange(600)
    values = np.sin(steps / 3) + np.sin(steps / 2.1) + 0.05 * np.random.default_rng(1).normal(size=600)
    options = {**TINY, "steps": 200, "hidden_size": 24, "learning_rate": 0.01, "horizon": 6, "season": "19"}
    result = rnnkit.train("forecast", write(tmp_path / "a.csv", {"y": values}), run=tmp_path / "run", **options)
    assert result.metrics["mase"] < 0.5 * result.baselines["seasonal naive"]["mase"]
    assert 0.6 < result.metrics["coverage"] <= 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"ds": ["2020-01-01", "2020-01-02"], "y": ["1", "many"]}, r"a.csv:3: .*'many'"),
        ({"ds": ["2020-01-01", "13/31/2020"], "y": ["1", "2"]}, r"a.csv:3: ds is '13/31/2020'"),
        ({"ds": ["2020-01-01", "2020-01-02"], "y": [None, None]}, "has no value|no column holds numbers"),
        ({"ds": [], "y": []}, "no row below its header"),
        ({"ds": ["2020-01-01", "2020-01-02", "2020-01-03"], "y": ["1", "2", "3"]}, "too few to keep"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_its_line(cells: Any, message: str, tmp_path: Path):
    path = write(tmp_path / "a.csv", cells)
    with pytest.raises(DataError, match=message):
        rnnkit.train("forecast", path, run=tmp_path / "run", **TINY)
    assert not (tmp_path / "run" / "model").exists()


def test_a_series_of_a_few_values_is_learnt_from(tmp_path: Path):
    days = [str(day) for day in np.arange("2020-01-01", 2 * TINY["horizon"] + 1, dtype="datetime64[D]")]
    path = write(tmp_path / "few.csv", {"ds": days, "y": [float(number) for number in range(len(days))]})
    result = rnnkit.train("forecast", path, run=tmp_path / "run", **TINY)
    assert len(result.model.predict()[0].median) == TINY["horizon"]
    one = write(tmp_path / "one.csv", {"ds": days[:2], "y": [1.0, None]})
    with pytest.raises(DataError, match="no series has two values to learn from|two time stamps"):
        rnnkit.train("forecast", one, valid=path, run=tmp_path / "one", **TINY)


def test_a_column_that_is_not_there_is_named_by_its_option(tmp_path: Path):
    path = write(tmp_path / "a.csv", {"ds": ["2020-01-01", "2020-01-02"], "y": [1.0, 2.0]})
    with pytest.raises(ConfigError, match=r"future_columns is 'holiday', which .*a.csv does not have"):
        rnnkit.train("forecast", path, run=tmp_path / "run", future_columns="holiday", **TINY)


def test_a_series_that_never_changes_is_forecast_to_stay(tmp_path: Path):
    days = [str(day) for day in np.arange("2020-01-01", 120, dtype="datetime64[D]")]
    result = rnnkit.train(
        "forecast", write(tmp_path / "a.csv", {"ds": days, "y": [5.0] * 120}), run=tmp_path / "run", **TINY
    )
    assert result.model.predict()[0].median == pytest.approx([5.0] * 4, abs=1e-3)


def test_an_unknown_series_and_a_horizon_too_long_are_refused(forecaster: Callable[..., Forecasting]):
    model = forecaster()
    with pytest.raises(DataError, match="no series 'snow'.*temp_max"):
        model.predict(["snow"])
    with pytest.raises(ConfigError, match="horizon is 99.*1 to 4"):
        model.predict(horizon=99)
    with pytest.raises(DataError, match="on no step"):
        model.update({"date": ["2016/01/01 13:00"], "temp_max": [1.0], "temp_min": [1.0], "wind": [1.0]})


def test_naive_forecasts_are_those_of_the_m4_competition(data_folder: Path):
    folder = data_folder / "timeseries" / "m4-hourly"
    train = read_panel_file(folder / "Hourly-train.csv.gz", PanelColumns())
    test = read_panel_file(folder / "Hourly-test.csv", PanelColumns())
    pasts, actual = [one.values for one in train.series], np.stack([one.values for one in test.series])
    scales = np.concatenate([naive_scales(one, np.array([len(one)]), season=24) for one in pasts])
    for method, smape, mase in ((naive2, 18.383, 2.395), (seasonal_naive, 13.912, 1.193)):
        found = forecast_metrics(actual, method(pasts, 48, 24)[..., None], [0.5], scales)
        assert found["smape"] == pytest.approx(smape, abs=5e-4)
        assert found["mase"] == pytest.approx(mase, abs=5e-4)


def test_evaluation_rolls_over_what_training_has_not_seen(tmp_path: Path):
    days = [str(day) for day in np.arange("2020-01-01", 400, dtype="datetime64[D]")]
    path = write(tmp_path / "a.csv", {"ds": days, "y": sine()})
    model = rnnkit.train("forecast", path, run=tmp_path / "run", **{**TINY, "test_from": days[360]}).model
    data = model.load_data(tmp_path / "run" / "tokens" / "valid")
    assert data.origins[:, 1].min() == 324
    assert data.origins[:, 1].max() == 360 - 4  # no forecast goes into the test
    assert narrowed(model, data, backtest=3, test_from=None).origins[:, 1].tolist() == [324, 340, 356]
    later = narrowed(model, data, backtest=None, test_from=days[360])
    assert later.origins[:, 1].tolist() == list(range(360, 397))
    assert model.predict()[0].times[0] == "2021-02-04"  # forecasts go on from the file's end
    with pytest.raises(ConfigError, match=f"up to {days[324]}; expected that or later"):
        narrowed(model, data, backtest=None, test_from=days[323])
    with pytest.raises(ConfigError, match="no 4 steps are left"):
        narrowed(model, data, backtest=None, test_from=days[398])


def test_the_steps_kept_for_the_test_change_nothing(tmp_path: Path):
    days = [str(day) for day in np.arange("2020-01-01", 400, dtype="datetime64[D]")]
    values = sine()
    other = np.concatenate([values[:360], np.full(40, 1000.0)])
    runs = [
        rnnkit.train(
            "forecast",
            write(tmp_path / f"{name}.csv", {"ds": days, "y": column}),
            run=tmp_path / name,
            **{**TINY, "test_from": days[360]},
        )
        for name, column in (("a", values), ("b", other))
    ]
    assert runs[0].metrics == runs[1].metrics
    assert runs[0].model.fingerprint == runs[1].model.fingerprint


def test_a_file_to_validate_on_that_brings_nothing_new_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    days = [str(day) for day in np.arange("2020-01-01", 400, dtype="datetime64[D]")]
    short = write(tmp_path / "short.csv", {"ds": days[:350], "y": sine()[:350]})
    later = write(tmp_path / "later.csv", {"ds": days[350:], "y": sine()[350:]})
    rnnkit.train("forecast", short, valid=short, run=tmp_path / "same", **TINY)
    assert "short.csv:2: the file to validate on has no step after those to learn from" in caplog.text
    caplog.clear()
    result = rnnkit.train("forecast", short, valid=later, run=tmp_path / "run", **TINY)
    assert "no step after" not in caplog.text
    assert result.model.load_data(result.run / "tokens" / "valid").origins[:, 1].min() == 350


def test_a_comparison_says_whether_a_model_is_better(tmp_path: Path):
    steps = np.arange(600)
    wave = np.sin(steps / 3) + np.sin(steps / 2.1) + 0.05 * np.random.default_rng(1).normal(size=600)
    walk = np.random.default_rng(2).normal(size=3000).cumsum()
    said = {}
    for name, values in (("wave", wave), ("walk", walk)):
        result = rnnkit.train("forecast", write(tmp_path / f"{name}.csv", {"y": values}), run=tmp_path / name, **TINY)
        data = result.model.load_data(result.run / "tokens" / "valid")
        said[name] = result.model.compare(1, data)
        assert {**result.metrics, "owa": said[name].metrics["owa"]} == said[name].metrics
        assert set(said[name].baselines) == set(said[name].against) == {"naive", "seasonal naive", "drift", "Theta"}
    assert "is better than" in said["wave"].remarks[0]
    assert said["wave"].against["naive"]["p"] < 0.001
    assert said["wave"].against["naive"]["diebold_mariano"] < 0
    assert "is not better than" in said["walk"].remarks[0]


def counts(length: int = 300) -> np.ndarray:
    return np.random.default_rng(1).poisson(2 + 1.5 * np.sin(2 * np.pi * np.arange(length) / 7)).astype(float)


@pytest.fixture(scope="module", params=[pytest.param("student-t", marks=pytest.mark.slow), "negative-binomial"])
def drawing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Forecasting:
    """Train a model that draws its forecasts, on two series."""
    folder = tmp_path_factory.mktemp("drawing")
    days = [str(day) for day in np.arange("2020-01-01", 300, dtype="datetime64[D]")]
    both = {"ds": days, "a": counts(), "b": 5 * counts()[::-1]}
    options = {**TINY, "distribution": request.param, "target_column": "a,b"}
    return rnnkit.train("forecast", write(folder / "counts.csv", both), run=folder / "run", **options).model


def test_drawn_forecasts_are_the_same_from_any_side(drawing: Forecasting):
    whole = drawing.memory
    lengths = whole.values.lengths
    origins = np.array([[0, 100], [1, 100], [0, lengths[0]], [1, 250], [1, lengths[1]]])
    together = drawing.quantiles(whole, origins)
    for index, origin in enumerate(origins):
        assert np.allclose(drawing.quantiles(whole, origin[None])[0], together[index], rtol=1e-4, atol=1e-4)
    one, other = drawing.predict()
    assert np.allclose(one.median, together[2][:, 5], rtol=1e-4, atol=1e-4)
    assert np.allclose(other.median, together[4][:, 5], rtol=1e-4, atol=1e-4)
    assert drawing.predict()[0] == one
    live = drawing.stream(series="a").push([3.0])[0].forecast
    values = np.append(whole.values[0], 3.0)
    level, spread = running_scales(values, drawing.views.half_life)
    longer = replace(
        whole,
        values=Ragged(values, np.array([len(values)])),
        beside=Ragged.join([whole.beside[0]], like=whole.beside.values[:0]),
        first=whole.first[:1],
        level=level,
        spread=spread,
    )
    offline = drawing.quantiles(longer, np.array([[0, lengths[0] + 1]]))[0]
    assert np.allclose(live.median, offline[:, 5], rtol=1e-4, atol=1e-4)


def test_drawn_forecasts_never_cross_nor_see_the_future(drawing: Forecasting):
    whole = drawing.memory
    origins = np.array([[0, 200], [1, 200]])
    before = drawing.quantiles(whole, origins)
    assert (np.diff(before, axis=-1) >= 0).all()
    values = whole.values.values.copy()
    for offset in whole.offsets:
        values[offset + 200 : offset + 300] = 77.0
    changed = replace(whole, values=Ragged(values, whole.values.ends))
    assert np.array_equal(drawing.quantiles(changed, origins), before)


def test_counts_are_forecast_from_0_on_and_others_refused(tmp_path: Path):
    options = {**TINY, "distribution": "negative-binomial"}
    model = rnnkit.train("forecast", write(tmp_path / "a.csv", {"y": counts()}), run=tmp_path / "run", **options).model
    (found,) = model.predict([counts()[:50]])
    assert min(found.quantiles["0.025"]) >= 0
    for wrong, shown in ((-3.0, "-3"), (1.5, "1.5")):
        bad = counts()
        bad[4] = wrong
        path = write(tmp_path / "bad.csv", {"y": bad})
        with pytest.raises(DataError, match=f"'y' has {shown} as its value 5, which is no count"):
            rnnkit.train("forecast", path, run=tmp_path / "bad", **options)
        with pytest.raises(DataError, match=f"has {shown} as its value 1, which is no count"):
            model.stream(series="y").push([wrong])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distribution": "student-t", "context": 20}, "reads on from what it draws"),
        ({"distribution": "student-t", "members": 2}, "quantiles are averaged"),
        ({"distribution": "negative-binomial", "transform": "log"}, "forecasts counts"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        rnnkit.train("forecast", write(tmp_path / "a.csv", {"y": sine()}), run=tmp_path / "run", **{**TINY, **options})


@pytest.mark.slow
def test_a_likelihood_learns_the_spread_of_what_is_drawn(tmp_path: Path):
    values = 50 + np.random.default_rng(3).standard_t(4, size=1500)
    options = {**TINY, "steps": 60, "distribution": "student-t", "max_epochs": 100.0}
    result = rnnkit.train("forecast", write(tmp_path / "a.csv", {"y": values}), run=tmp_path / "run", **options)
    low, high = (result.model.predict()[0].quantiles[level] for level in ("0.1", "0.9"))
    assert np.allclose(np.array(high) - low, 2 * 1.533, rtol=0.25)


def test_what_is_known_ahead_comes_with_rows_without_values(
    forecaster: Callable[..., Forecasting], caplog: pytest.LogCaptureFixture
):
    model = forecaster(**WEATHER)
    (before,) = model.predict()
    assert "column 'precipitation' is not known for all steps ahead" in caplog.text
    caplog.clear()
    days = [str(day) for day in np.arange("2016-01-01", 4, dtype="datetime64[D]")]
    none = [None] * 4
    told = {"date": days, "temp_max": none, "wind": none, "weather": none}
    model.update({**told, "precipitation": [0.0, 50.0, 50.0, 0.0]})
    (after,) = model.predict()
    assert not caplog.text
    assert after.times == before.times == tuple(days)
    assert after.median != before.median
    model.update({**told, "temp_max": [5.0, None, None, None], "precipitation": [0.0, 50.0, 50.0, 0.0]})
    assert model.predict()[0].times[0] == days[1]
