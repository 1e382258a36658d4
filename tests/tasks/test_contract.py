"""What every task keeps, walked over TASKS: a new task needs one row of CASES and no test of its own here."""

import dataclasses
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.checkpoint import Run, load, load_baseline, save_model
from rnnkit.data.audio import read_audio
from rnnkit.data.samples import sample_path
from rnnkit.data.series import read_series
from rnnkit.diagnosing import diagnose, look_at
from rnnkit.errors import ConfigError, DataError
from rnnkit.kernels.core import core
from rnnkit.layers import LAYERS
from rnnkit.streaming import Stream, StreamPool
from rnnkit.tasks import TASKS, Task, find_task
from rnnkit.tasks.classification import Classification
from rnnkit.tasks.speech import SpokenWord
from rnnkit.training import Callback, Trainer, TrainResult, resume, train


@dataclass(frozen=True)
class Case:
    """How to train a task in seconds, what it must then reach, and how to use it."""

    options: dict[str, Any]
    goal: float
    """The objective after training must be below this."""
    inputs: list[Any]
    bad_file: bytes
    answers: Callable[[Any], Sequence[float]]
    """The numbers of one result of `predict`, or of the events of a stream."""
    event_answers: Callable[[list[Any]], Sequence[float]]
    other_file: str
    """Data unlike the sample's, to validate on."""
    fast: dict[str, Any] = field(default_factory=dict)
    """Options of a run whose quality does not matter."""
    untrained: dict[str, Any] = field(default_factory=dict)
    """More options of a network that shall stream."""
    chosen_on_validation: frozenset[str] = frozenset()
    """Files of a model that hold what validation data decides."""
    refuses_to_stream: str | None = None
    """Why it cannot, if it cannot."""


SPOKEN = ("0_theo_43", "1_jackson_8", "0_nicolas_36", "5_theo_11")


def word_numbers(word: SpokenWord) -> tuple[float, ...]:
    """When a word was said, and how sure that is."""
    return word.start, word.end, word.confidence


SMALL = {"threads": 1, "precision": "32-true", "device": "cpu"}
CASES = {
    # A guess over the 60 characters costs 4.1 nats, their frequencies alone 3.3; 2.35 is reached in 3 seconds.
    "language-model": Case(
        options={"steps": 150, "hidden_size": 96, "embedding_size": 32, "batch_size": 16, "bptt": 32, "dropout": 0.0}
        | {"learning_rate": 0.01, "validations": 2},
        goal=2.5,
        inputs=["First Citizen:", "To be, or not to be", "x", "Before we proceed any further,\nhear me speak.\n"],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [token.nats for token in result.tokens],
        event_answers=lambda events: [event.nats for event in events],
        other_file="Ωmega ☃ " + sample_path("shakespeare").read_text()[:500][::-1],
        fast={"steps": 1, "hidden_size": 4, "embedding_size": 4, "batch_size": 2, "bptt": 8},
    ),
    # A guess between the two labels costs 0.69 nats; 0.5 is reached in 3 seconds.
    "text-classification": Case(
        options={"epochs": 8, "hidden_size": 32, "embedding_size": 64, "learning_rate": 0.01, "validations": 4},
        goal=0.58,
        inputs=["A slow start, then pure joy.", "bad", "Not good, not good at all: 0/10!", "x " * 40],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [one.probability for one in result.running] + [result.probability],
        event_answers=lambda events: [one.probability for one in events] + [events[-1].probability],
        other_file="text,label\nΩmega ☃,1\nunseen words,0\nnothing else,1\n",
        fast={"steps": 1, "hidden_size": 4, "embedding_size": 4, "batch_size": 2},
        chosen_on_validation=frozenset({"decision.json"}),
    ),
    # A guess among the 16 strokes costs 2.8 nats.
    "series-classification": Case(
        options={"steps": 60, "hidden_size": 32, "filters": 16, "learning_rate": 0.02, "validations": 4},
        goal=1.0,
        inputs=[one.values for one in read_series([sample_path("strokes")]).examples[::40]] + [np.ones((1, 3))],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [one.probability for one in result.running],
        event_answers=lambda events: list({one.step: one.probability for one in events}.values()),
        other_file='{"label": "arrow", "xyt": [[-9, 900, 1], [4, 5, 6]]}\n{"label": "star", "xyt": [[7, 7, 7]]}\n',
        fast={"steps": 1, "hidden_size": 4, "filters": 4, "batch_size": 2},
        chosen_on_validation=frozenset({"decision.json", "early.json"}),
    ),
    # A word costs 0.9 nats by the tags' frequencies alone, the baseline's counts 0.55; 0.2 is reached in 5 seconds.
    "tagging": Case(
        options={"epochs": 5, "hidden_size": 32, "bidirectional": False, "learning_rate": 0.01, "validations": 2},
        goal=0.3,
        inputs=[
            "Angela Merkel visited Toyota in Nagoya.",
            "x",
            "In 1763 she\nfled to\tAbra, again (U.S.).\n\n",
            "I " * 40,
        ],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [word.probability for word in result.words],
        event_answers=lambda events: [event.probability for event in events],
        other_file="Ωmega\tB-LOC\n☃\tI-LOC\n\nunseen\tO\nwords\tB-PER\n",
        fast={"steps": 1, "hidden_size": 4, "embedding_size": 4, "batch_size": 2, "character_units": 4},
        untrained={"bidirectional": False},
        chosen_on_validation=frozenset({"temperature.json"}),
    ),
    # The seasonal naive forecast costs 1.6 of its errors in training, the last value 1.2.
    "forecasting": Case(
        options={"steps": 60, "horizon": 3, "hidden_size": 24, "learning_rate": 0.01, "validations": 2},
        goal=0.9,
        inputs=[np.sin(np.arange(50)), np.arange(3.0), [5.0], [1.0, None, 4.0, 4.0, None], np.full(20, 7.0)],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [level for column in result.quantiles.values() for level in column],
        event_answers=lambda events: [level for column in events[-1].forecast.quantiles.values() for level in column],
        other_file="date,precipitation,temp_max,temp_min,wind,weather\n"
        + "".join(f"2016/01/{day:02},{day},{-day},{day % 3},9,Ωmega\n" for day in range(1, 20)),
        fast={"steps": 1, "horizon": 3, "hidden_size": 4, "batch_size": 2},
    ),
    # Word by word a token costs 4.5 nats; 3.7 is reached in 6 seconds.
    "translation": Case(
        options={"steps": 150, "hidden_size": 96, "embedding_size": 64, "batch_size": 32, "learning_rate": 0.01}
        | {"layer": "gru", "validations": 2},
        goal=4.1,
        inputs=["He is my brother.", "x", "", "\u03a9mega \u2603, she said to\u00a0him.", "I know " * 20],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [result.log_probability, result.score],
        event_answers=lambda events: events,
        other_file="\u03a9mega \u2603\tune chose\nunseen words\tdes mots\nnothing else\trien\n",
        fast={"steps": 1, "hidden_size": 4, "embedding_size": 4, "batch_size": 2},
        refuses_to_stream="needs the whole sentence",
    ),
    # The nearest of the 36 recordings gets 12 % of the characters wrong, a network that says nothing all of them.
    "speech": Case(
        options={"steps": 900, "hidden_size": 64, "filters": 64, "num_layers": 1, "layer": "gru", "batch_size": 12}
        | {"learning_rate": 0.01, "dropout": 0.1, "mask_bands": 0, "mask_time": 0.0, "validations": 2}
        | {"augment_join": 0.0, "augment_noise": 0.0},
        goal=0.5,
        inputs=[
            *(read_audio(sample_path("digits").parent / "wav" / f"{name}.wav", 8000) for name in SPOKEN),
            np.zeros(3000, np.float32),
            np.zeros(100, np.float32),
        ],
        bad_file=b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
        answers=lambda result: [*map(ord, result.text), *(time for one in result.words for time in word_numbers(one))],
        event_answers=lambda events: [
            *map(ord, " ".join(one.text for one in events if one.kind == "final")),
            *(time for event in events if event.kind == "final" for one in event.words for time in word_numbers(one)),
        ],
        other_file="path\ttext\n"
        + "".join(f"{sample_path('digits').parent}/wav/{name}.wav\t\u03a9mega {name}\n" for name in SPOKEN),
        fast={"steps": 1, "hidden_size": 4, "filters": 4, "batch_size": 2},
    ),
}

every_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainResult]:
    """Train each task once, on its own sample."""
    results: dict[str, TrainResult] = {}

    def get(name: str) -> TrainResult:
        if name not in results:
            run = tmp_path_factory.mktemp("runs") / name
            results[name] = train(name, TASKS[name].demo_data(), run=run, **CASES[name].options, **SMALL)
        return results[name]

    return get


def close(found: Sequence[float], expected: Sequence[float]) -> bool:
    """Agree to 1e-5 relative, what is promised across batches and chunks in float32."""
    return torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=1e-5)


def chunks(text: Any, cuts: Sequence[float]) -> list[Any]:
    """Cut a text, or a series, at shares of its length."""
    places = [0, *sorted(round(cut * len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def objective_of_training(result: TrainResult) -> float:
    """Measure the objective again, without what stands aside until training is over."""
    model = result.model
    if not isinstance(model, Classification) or model.direct is None:
        return result.metrics[model.objective]
    gain = model.direct.gain.clone()
    model.direct.gain.zero_()
    alone = model.quick_score(model.load_data(Run(result.run).tokens / "valid"))
    model.direct.gain.copy_(gain)
    assert result.metrics[model.objective] < alone + 0.1  # what stood aside is no loss
    return alone


@every_task
def test_it_learns_its_own_sample_in_seconds(name: str, trained: Callable[[str], TrainResult]):
    result = trained(name)
    objective = result.model.objective
    assert result.metrics[objective] < CASES[name].goal
    assert result.best == pytest.approx(objective_of_training(result), abs=0.1)
    assert result.model.baseline_name in result.baselines
    baseline = result.baselines[result.model.baseline_name]
    assert objective in baseline
    assert baseline.keys() <= result.metrics.keys()  # what cannot be asked of it, such as to decide early, it lacks


@every_task
def test_its_gradients_can_be_followed(name: str, trained: Callable[[str], TrainResult]):
    result = trained(name)
    model, run = result.model, Run(result.run)
    data = model.load_data(run.tokens / "valid")
    found = diagnose(model, data, run.records())
    torch.manual_seed(7)
    again = diagnose(model, data)  # of the data as they are, not as training varies them
    assert found.reaches
    for stack, reach in found.reaches.items():
        assert np.array_equal(reach.norms, again.reaches[stack].norms)
        assert np.isfinite(reach.norms).all()
        assert reach.norms.max() > 0
        assert 0 <= reach.memory < len(reach.norms)
    assert found.advice


@every_task
def test_its_layers_can_be_looked_at_as_they_read(name: str, trained: Callable[[str], TrainResult]):
    model = trained(name).model
    if type(model).steps_of is Task.steps_of:
        with pytest.raises(ConfigError, match="reads no text"):
            look_at(model, "some words")
        return
    look = look_at(model, "the sea and the sky")
    assert look.layers
    for parts in look.layers.values():
        assert {len(values) for values in parts.values()} == {len(look.steps)}
        assert all(np.isfinite(values).all() for values in parts.values())
    with pytest.raises(ConfigError, match="nothing to read"):
        look_at(model, "")


@every_task
@given(data=st.data())
@settings(max_examples=15)
def test_a_stream_in_any_chunks_answers_as_predict_does(
    name: str, trained: Callable[[str], TrainResult], data: st.DataObject
):
    model, case = trained(name).model, CASES[name]
    if case.refuses_to_stream is not None:
        with pytest.raises(ConfigError, match=case.refuses_to_stream):
            model.stream()
        return
    text = data.draw(st.sampled_from(case.inputs))
    cuts = data.draw(st.lists(st.floats(0, 1), max_size=8))
    stream = model.stream()
    events = [event for chunk in chunks(text, cuts) for event in stream.push(chunk)] + stream.finish()
    assert close(case.event_answers(events), case.answers(model.predict([text])[0]))


@pytest.fixture(scope="module")
def untrained() -> Callable[[str, str], Task]:
    """Make a small network of every layer for every task, its data read once."""
    examples: dict[str, Any] = {}
    made: dict[tuple[str, str], Task] = {}

    def get(name: str, layer: str) -> Task:
        task, options = TASKS[name], CASES[name].fast | CASES[name].untrained
        known = {one.name for one in dataclasses.fields(task.config_class)}
        config = task.config_class(**{key: value for key, value in options.items() if key in known}, layer=layer)
        if name not in examples:
            examples[name] = task.read([task.demo_data()], config)
        if (name, layer) not in made:
            torch.manual_seed(0)
            made[name, layer] = task.prepare(examples[name], config)
            made[name, layer].network.eval()
        return made[name, layer]

    return get


SLOW_TO_PREPARE = ("translation", "tagging", "series-classification")
STREAMED_LAYERS = [
    pytest.param(name, marks=() if name == "lstm" else pytest.mark.slow)
    for name, one in LAYERS.items()
    if one.streamable
]


@pytest.mark.parametrize("layer", STREAMED_LAYERS)
@every_task
@given(data=st.data())
@settings(max_examples=3)
def test_streams_in_a_pool_answer_alone_and_together_as_predict_does(
    name: str, layer: str, untrained: Callable[[str, str], Task], data: st.DataObject
):
    case = CASES[name]
    if case.refuses_to_stream is not None:
        pytest.skip("it does not stream")
    model = untrained(name, layer)
    expected = [case.answers(one) for one in model.predict(case.inputs)]
    pool = StreamPool(most_steps=data.draw(st.sampled_from([3, 64])), most_rows=data.draw(st.sampled_from([2, 256])))
    streams = [model.stream() for _ in case.inputs]
    events: dict[Stream, list[Any]] = {stream: [] for stream in streams}
    waiting = {
        stream: chunks(one, data.draw(st.lists(st.floats(0, 1), max_size=4)))
        for stream, one in zip(streams, case.inputs, strict=True)
    }
    while waiting:  # some push, some wait, those that have nothing more leave
        pushing = data.draw(st.lists(st.sampled_from(list(waiting)), unique=True, min_size=1))
        for stream, found in pool.push({stream: waiting[stream].pop(0) for stream in pushing}).items():
            events[stream] += found
        ended = [stream for stream in pushing if not waiting[stream]]
        for stream, found in pool.finish(ended).items():
            events[stream] += found
            del waiting[stream]
    for stream, answers, one in zip(streams, expected, case.inputs, strict=True):
        assert close(case.event_answers(events[stream]), answers)
        alone = model.stream()
        assert close(case.event_answers([*alone.push(one), *alone.finish()]), answers)


@every_task
def test_streams_of_packed_models_in_a_pool_answer_as_predict_does(
    name: str, untrained: Callable[[str, str], Task], tmp_path: Path
):
    case = CASES[name]
    if case.refuses_to_stream is not None:
        pytest.skip("it does not stream")
    save_model(untrained(name, "lstm"), tmp_path / "model")
    model = load(tmp_path / "model")
    expected = [case.answers(one) for one in model.predict(case.inputs)]
    assert bool(model.pack()) == (core is None)
    pool, streams = StreamPool(), [model.stream() for _ in case.inputs]
    waiting = [chunks(one, [0.2, 0.5, 0.6]) for one in case.inputs]
    found: list[list[Any]] = [[] for _ in streams]
    for some in zip(*waiting, strict=True):
        events = pool.push(dict(zip(streams, some, strict=True)))
        for place, stream in enumerate(streams):
            found[place] += events[stream]
    ends = pool.finish(streams)
    for own, stream, answers in zip(found, streams, expected, strict=True):
        assert close(case.event_answers([*own, *ends[stream]]), answers)


@every_task
def test_other_inputs_in_the_batch_do_not_change_an_answer(name: str, trained: Callable[[str], TrainResult]):
    model, case = trained(name).model, CASES[name]
    together = model.predict(case.inputs)
    for text, result in zip(case.inputs, together, strict=True):
        assert close(case.answers(result), case.answers(model.predict([text])[0]))


@every_task
def test_a_saved_model_answers_exactly_as_before(name: str, trained: Callable[[str], TrainResult], tmp_path: Path):
    model, case = trained(name).model, CASES[name]
    save_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is TASKS[name]
    assert again.config == model.config
    assert again.predict(case.inputs) == model.predict(case.inputs)


@every_task
def test_the_model_in_the_run_folder_is_the_one_returned(name: str, trained: Callable[[str], TrainResult]):
    result = trained(name)
    assert load(result.run).predict(CASES[name].inputs) == result.model.predict(CASES[name].inputs)


@every_task
def test_a_file_that_is_no_data_is_refused_with_its_name(name: str, tmp_path: Path):
    task, path = TASKS[name], tmp_path / "picture.dat"
    path.write_bytes(CASES[name].bad_file)
    with pytest.raises(DataError, match="picture.dat"):
        task.read([path], task.config_class())


@every_task
def test_a_missing_file_is_refused_before_a_folder_is_made(name: str, tmp_path: Path):
    with pytest.raises(DataError, match="absent.txt"):
        train(name, tmp_path / "absent.txt", run=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_PREPARE else ()) for name in TASKS]
)
def test_the_validation_data_changes_neither_baseline_nor_what_prepares_the_data(name: str, tmp_path: Path):
    sample = TASKS[name].demo_data()
    other = (tmp_path / "other").with_suffix(sample.suffix)
    other.write_text(CASES[name].other_file)
    kept: list[dict[str, bytes]] = []
    for valid in (sample, other):
        run = Run(tmp_path / valid.stem / "run")
        train(name, sample, valid=valid, run=run.folder, **CASES[name].fast, **SMALL)
        files = [*run.baseline.iterdir(), *(path for path in run.model.iterdir() if path.suffix == ".json")]
        chosen = {run.baseline_scores.name, *CASES[name].chosen_on_validation}
        kept.append({path.name: path.read_bytes() for path in files if path.name not in chosen})
    assert kept[0] == kept[1]
    assert len(kept[0]) > 1


@every_task
def test_the_saved_baseline_scores_as_it_did_in_training(name: str, trained: Callable[[str], TrainResult]):
    result = trained(name)
    task = load(result.run)
    data = task.load_data(Run(result.run).tokens / "valid")
    found = task.score_baseline(load_baseline(task, result.run), data)
    assert found == result.baselines[task.baseline_name]


class StopAfterTwo(Callback):
    """Sends what Ctrl-C sends after the second step's validation."""

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if trainer.step == 2:
            signal.raise_signal(signal.SIGINT)


@every_task
def test_a_run_that_was_interrupted_ends_in_the_same_bits(name: str, tmp_path: Path):
    options = {**CASES[name].fast, **SMALL, "steps": 6, "validations": 6}
    whole = train(name, TASKS[name].demo_data(), run=tmp_path / "whole", **options)
    stopped = train(name, TASKS[name].demo_data(), run=tmp_path / "run", callbacks=[StopAfterTwo()], **options)
    assert stopped.steps < 6
    again = resume(tmp_path / "run")
    assert again.steps == 6
    (tensors, _), (expected, _) = Run(again.run).load_checkpoint(), Run(whole.run).load_checkpoint()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], expected[key]) for key in tensors)
    assert again.metrics == whole.metrics
    assert again.model.predict(CASES[name].inputs) == whole.model.predict(CASES[name].inputs)


@every_task
def test_a_model_moved_away_from_its_run_has_no_baseline(
    name: str, trained: Callable[[str], TrainResult], tmp_path: Path
):
    save_model(trained(name).model, tmp_path / "model")
    assert load_baseline(trained(name).model, tmp_path / "model") is None


@every_task
def test_a_quick_score_draws_no_random_number_and_keeps_the_mode(name: str, trained: Callable[[str], TrainResult]):
    result = trained(name)
    model = load(result.run)
    data = model.load_data(Run(result.run).tokens / "valid")
    for mode in (True, False):
        model.network.train(mode)
        before = torch.get_rng_state()
        first = model.quick_score(data)
        assert torch.equal(torch.get_rng_state(), before)
        assert model.network.training is mode
        assert model.quick_score(data) == first


@every_task
def test_it_says_what_it_noticed_and_shows_a_use(name: str, trained: Callable[[str], TrainResult]):
    model = trained(name).model
    assert all(isinstance(line, str) for line in [*model.notes(), *model.show()])
    assert "".join(model.show())


@every_task
def test_going_on_with_a_network_of_other_sizes_is_refused(
    name: str, trained: Callable[[str], TrainResult], tmp_path: Path
):
    options = {**SMALL, **CASES[name].options, "hidden_size": 20}
    with pytest.raises(ConfigError, match="leave out the options that change the network's sizes"):
        train(name, TASKS[name].demo_data(), run=tmp_path / "run", start=trained(name).run, **options)


@every_task
def test_it_is_found_by_its_name_and_aliases(name: str):
    task: type[Task] = TASKS[name]
    assert all(find_task(word) is task for word in (name, *task.aliases))


def test_an_unknown_task_is_refused_with_the_ones_there_are():
    with pytest.raises(ConfigError, match="'langauge-model'.*language-model"):
        find_task("langauge-model")
