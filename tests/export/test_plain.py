"""Models written as plain C answer as they do here, compiled with every warning an error."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnkit.data.panel import Panel, TimeSeries
from rnnkit.data.samples import sample_path
from rnnkit.data.series import read_series
from rnnkit.data.stamps import Frequency
from rnnkit.errors import ConfigError
from rnnkit.export.c_source import c_identifier
from rnnkit.export.plain import export_c
from rnnkit.tasks import TASKS, Task
from rnnkit.tasks.forecasting import Forecasting, ForecastingConfig
from rnnkit.tasks.forecasting.examples import Part
from rnnkit.tasks.forecasting.results import LEVELS
from rnnkit.tasks.text_classification.text import normalise

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
TOLERANCE = 2e-5  # probabilities: sums in another order
STROKES = [one.values for one in read_series([sample_path("strokes")]).examples[::37]]
READ_SERIES = r"""
int main(void) {
    static model_stream stream;
    float values[CHANNELS];
    int count;
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        model_reset(&stream);
        for (int step = 0; step < count; ++step) {
            if (fread(values, sizeof values, 1, stdin) != 1) return 1;
            if (model_push(&stream, values)) fwrite(stream.probabilities, sizeof stream.probabilities, 1, stdout);
        }
        const int before = stream.steps;
        model_finish(&stream);
        if (stream.steps > before) fwrite(stream.probabilities, sizeof stream.probabilities, 1, stdout);
        const float end[2] = {(float)stream.fired, (float)stream.steps};
        fwrite(end, sizeof end, 1, stdout);
    }
    return 0;
}
"""
READ_TEXT = r"""
int main(void) {
    static model_stream stream;
    int count, token;
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        model_reset(&stream);
        for (int step = 0; step < count; ++step) {
            if (fread(&token, sizeof token, 1, stdin) != 1) return 1;
            model_push(&stream, token);
            fwrite(stream.probabilities, sizeof stream.probabilities, 1, stdout);
        }
    }
    return 0;
}
"""


READ_VALUES = r"""
int main(void) {
    static model_stream stream;
    double value;
    long long number;
    if (fread(&number, sizeof number, 1, stdin) != 1) return 1;
    model_reset(&stream, number);
    while (fread(&value, sizeof value, 1, stdin) == 1) {
        model_push(&stream, value);
        fwrite(stream.quantiles, sizeof stream.quantiles, 1, stdout);
    }
    return 0;
}
"""


def model_of(name: str, **options: Any) -> Task:
    torch.manual_seed(0)
    task_class = TASKS[name]
    config = task_class.config_class(**options)
    task = task_class.prepare(task_class.read([task_class.demo_data()], config), config)
    task.network.eval()
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if task.network.direct is not None:
            task.network.direct.gain.fill_(0.7)
    return task


def compiled(task: Any, folder: Path, main: str) -> Path:
    """Write a model as C, compile it strictly, and return the program."""
    export_c(task, folder, name="model")
    channels = len(task.means) if hasattr(task, "means") else 0
    (folder / "main.c").write_text(f'#include <stdio.h>\n#include "model.h"\n#define CHANNELS {channels}\n{main}')
    strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["cc", *strict, "main.c", "-o", "program", "-lm"], cwd=folder, check=True)
    return folder / "program"


SERIES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "gru, last, several layers": {"layer": "gru", "pooling": "last", "num_layers": 3, "residual": True},
    "reset before, max": {"layer": "gru-reset-before", "pooling": "max"},
    "rnn, mean, norms": {"layer": "rnn", "pooling": "mean", "num_layers": 2, "norm": "layer"},
    "relu, attention": {"layer": "relu-rnn", "pooling": "attention", "norm": "rms", "num_layers": 2},
    "learnt beginning, no convolution": {"learn_initial_state": True, "filters": 0},
    "stride": {"stride": 3},
}


@pytest.mark.parametrize("options", SERIES)
def test_a_classifier_of_series_answers_in_c_as_it_does_here(options: str, tmp_path: Path):
    task: Any = model_of("series-classification", **{"hidden_size": 7, "filters": 5, **SERIES[options]})
    program, sent = compiled(task, tmp_path, READ_SERIES), b""
    strokes = [one.copy() for one in STROKES[:4]]
    strokes[0][3, 1] = strokes[0][0, 0] = np.nan
    for one in strokes:
        sent += np.int32(len(one)).tobytes() + one.astype(np.float32).tobytes()
    found = subprocess.run([program], input=sent, capture_output=True, check=True).stdout
    numbers, place = np.frombuffer(found, np.float32), 0
    for one in strokes:
        stream = task.stream(candidates=len(task.labels))
        events = stream.push(one) + stream.finish()
        steps = max(event.step for event in events)
        rows = numbers[place : place + steps * len(task.labels)].reshape(steps, -1)
        fired, counted = numbers[place + rows.size : place + rows.size + 2]
        place += rows.size + 2
        by_step = {event.step: event for event in events}
        for row, step in zip(rows, range(1, steps + 1), strict=True):
            expected = {candidate.label: candidate.probability for candidate in by_step[step].candidates}
            assert np.abs(row - [expected[name] for name in task.labels.names]).max() < TOLERANCE
        assert counted == steps
        assert task.labels.names[int(fired)] == next(event.label for event in events if event.fired)
    assert place == len(numbers)


TEXTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "gru, characters": {"layer": "gru", "vocabulary": "character"},
    "without bias, mean": {"layer": "rnn", "pooling": "mean"},
}


@pytest.mark.parametrize("options", TEXTS)
def test_a_classifier_of_texts_answers_in_c_as_it_does_here(options: str, tmp_path: Path):
    task: Any = model_of("text-classification", **{"hidden_size": 7, "embedding_size": 6, **TEXTS[options]})
    program, sent, wanted = compiled(task, tmp_path, READ_TEXT), b"", []
    for text in ("A slow start, then pure joy.", "bad bad film", "x"):
        tokens = task.vocabulary.encode(normalise(text, task.config))
        sent += np.array([len(tokens), *tokens], np.int32).tobytes()
        stream = task.stream(candidates=len(task.labels))
        for event in stream.push(text) + stream.finish():
            by_label = {one.label: one.probability for one in event.candidates}
            wanted.append([by_label[name] for name in task.labels.names])
    found = subprocess.run([program], input=sent, capture_output=True, check=True).stdout
    rows = np.frombuffer(found, np.float32).reshape(-1, len(task.labels))
    assert np.abs(rows - np.array(wanted)).max() < TOLERANCE


def forecaster_of(frequency: Frequency, **options: Any) -> Any:
    """Return a forecaster of a wave, its weights moved by chance."""
    torch.manual_seed(0)
    wave = 30 + 10 * np.sin(np.arange(300) / 3) + np.random.default_rng(0).normal(size=300)
    panel = Panel((TimeSeries("wave", 100, wave, {}, {}, {}, "here:1"),), frequency)
    task = Forecasting.prepare(Part(panel), ForecastingConfig(hidden_size=6, horizon=5, **options))
    task.network.eval()
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        task.network.head.stretch_by(torch.linspace(0.5, 2, len(LEVELS)))
    return task


FORECASTERS: dict[str, tuple[Frequency, dict[str, Any]]] = {
    "hours": (Frequency("second", 3600, 600), {"layer": "gru"}),
    "numbered, no season": (Frequency("step"), {"layer": "rnn", "num_layers": 1}),
    "business days, logarithm": (Frequency("business day", offset=3600), {"transform": "log"}),
    "quarters that end late": (Frequency("month", 3, 30 * 86400 + 60, 1), {}),
}


@pytest.mark.parametrize("kind", FORECASTERS)
def test_a_forecaster_answers_in_c_as_it_does_here(kind: str, tmp_path: Path):
    frequency, options = FORECASTERS[kind]
    task = forecaster_of(frequency, **options)
    stream = task.stream()
    values = 30 + 10 * np.sin(np.arange(150) / 3)
    values[[0, 40, 41]] = np.nan
    found = subprocess.run(
        [compiled(task, tmp_path, READ_VALUES)],
        input=np.int64(stream.step).tobytes() + values.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    said = np.frombuffer(found).reshape(len(values), task.config.horizon, len(LEVELS))
    expected = np.array([np.array(list(event.forecast.quantiles.values())).T for event in stream.push(values)])
    assert np.abs(said / expected - 1).max() < 1e-4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"distribution": "student-t"}, "draws its student-t forecasts"),
        ({"members": 2}, "has 2 members"),
        ({"context": 24}, "reads a bounded context"),
        ({"layer": "lru"}, "LRU with these options is not written as C"),
    ],
)
def test_a_forecaster_that_cannot_be_written_is_refused(options: dict[str, Any], reason: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=reason):
        export_c(forecaster_of(Frequency("second", 3600), **options), tmp_path / "c", name="model")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("series-classification", {"layer": "mingru"}, "MinGRU with these options is not written as C"),
        ("series-classification", {"zoneout": 0.1}, "LSTM with these options is not written as C"),
        ("series-classification", {"resample": 20}, "stretches whole series"),
        ("series-classification", {"bidirectional": True}, "reads backwards too"),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, options: dict[str, Any], reason: str, tmp_path: Path):
    task = model_of(name, **{"hidden_size": 6, "filters": 5, **options})
    with pytest.raises(ConfigError, match=reason):
        export_c(task, tmp_path / "c", name="model")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("name", "word"),
    [("runs-1", "runs_1"), ("Gestures", "gestures"), ("7", "model_7"), ("--", "model"), ("é1", "model_1")],
)
def test_names_become_ones_that_c_takes(name: str, word: str):
    assert c_identifier(name) == word
