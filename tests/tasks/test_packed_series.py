"""The network of a classifier of series in one call of C++ equals the one in torch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnkit.data.samples import sample_path
from rnnkit.errors import ShapeError
from rnnkit.kernels import State
from rnnkit.kernels.core import core
from rnnkit.layers.pooling import POOLINGS
from rnnkit.streaming import StreamPool
from rnnkit.tasks import SeriesClassification
from rnnkit.tasks.series_classification.packed import PackedRunning

pytestmark = pytest.mark.skipif(core is None, reason="the C++ kernels are not built")
PACKED_LAYERS = ("rnn", "relu-rnn", "lstm", "gru", "gru-reset-before")
Make = Callable[..., SeriesClassification]


@pytest.fixture(scope="module")
def make() -> Make:
    strokes = SeriesClassification.read([sample_path("strokes")], SeriesClassification.config_class())
    some = replace(strokes, examples=strokes.examples[::8])

    def make(**options: Any) -> SeriesClassification:
        """Prepare a model with weights, and scales of what stands beside it, that are far from those it begins with."""
        config = SeriesClassification.config_class(**{"hidden_size": 24, **options})
        torch.manual_seed(5)
        model = SeriesClassification.prepare(some, config)
        with torch.no_grad():
            for weight in model.network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
            if model.network.direct is not None:
                model.network.direct.gain.fill_(1.5)
        model.network.eval()
        return model

    return make


def walks(rows: int, steps: int, channels: int = 3) -> Tensor:
    return torch.randn(rows, steps, channels).cumsum(1)


def check(model: SeriesClassification, *, rows: int, tolerance: float = 2e-5) -> None:
    """Compare both ways over chunks that follow one another."""
    plainly = model.network.running
    assert model.pack() == {}
    packed = model.network.running
    assert isinstance(packed, PackedRunning)
    expected: State = model.network.initial_state(rows)
    state = model.network.initial_state(rows)
    with torch.inference_mode():
        for steps in (1, 2, 7, 1, 30):
            chunk = walks(rows, steps, len(model.means))
            right, expected = plainly(chunk, expected)
            found, state = packed(chunk, state)
            torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)
            assert [part.shape for part in state] == [part.shape for part in expected]
            for part, own in zip(state, expected, strict=True):
                torch.testing.assert_close(part, own, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_equals_torch(pooling: str, direct: bool, make: Make):
    check(make(pooling=pooling, direct=direct), rows=3)


@pytest.mark.parametrize("filters", [0, 1, 17])
@pytest.mark.parametrize("layer", PACKED_LAYERS)
def test_every_packed_layer_equals_torch(layer: str, filters: int, make: Make):
    check(make(layer=layer, filters=filters, num_layers=2), rows=2)


@pytest.mark.parametrize("rows", [1, 6, 64, 150])
def test_any_number_of_rows_equals_torch(rows: int, make: Make):
    check(make(projection_size=10), rows=rows)


@pytest.mark.parametrize("level", core.levels() if core is not None else [])
def test_every_level_of_the_instruction_set_equals_torch(level: str, make: Make):
    before = core.level()
    core.use_level(level)
    try:
        check(make(pooling="attention"), rows=7)
    finally:
        core.use_level(before)


def test_states_and_inputs_of_another_shape_are_refused(make: Make):
    model = make()
    model.pack()
    network, state = model.network, model.network.initial_state(2)
    with torch.inference_mode():
        for inputs, given in ((walks(3, 4), state), (walks(2, 4, 2), state), (walks(2, 4), state[:-1])):
            with pytest.raises(ShapeError, match="expected"):
                network.running(inputs, given)


def test_a_network_that_was_converted_runs_in_torch(make: Make):
    model = make()
    right, _ = model.network.running(walks(2, 4), model.network.initial_state(2))
    model.pack()
    model.network.double()
    with torch.inference_mode():
        found, _ = model.network.running(walks(2, 4).double(), model.network.initial_state(2))
    assert found.dtype == torch.float64
    assert found.shape == right.shape


def test_threads_read_at_one_time(make: Make):
    model = make()
    model.pack()
    series = [walks(1, 50) for _ in range(8)]

    def read(one: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.network.running(one, model.network.initial_state(1))[0]

    expected = [read(one) for one in series]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(read, series * 5), expected * 5, strict=True):
            assert torch.equal(found, right)


def test_nothing_to_read_leaves_the_state(make: Make):
    model = make()
    model.pack()
    with torch.inference_mode():
        _, before = model.network.running(walks(2, 3), model.network.initial_state(2))
        scores, after = model.network.running(walks(2, 0), before)
    assert scores.shape == (2, 0, len(model.labels))
    assert all(torch.equal(*parts) for parts in zip(before, after, strict=True))


def test_a_state_that_was_given_is_not_written_to(make: Make):
    model = make()
    model.pack()
    with torch.inference_mode():
        _, state = model.network.running(walks(2, 3), model.network.initial_state(2))
        before = [part.clone() for part in state]
        model.network.running(walks(2, 3), state)
    assert all(torch.equal(*parts) for parts in zip(before, state, strict=True))


def test_changed_weights_are_packed_again_and_gradients_are_those_of_torch(make: Make):
    model, chunk = make(), walks(2, 5)
    model.pack()
    start = model.network.initial_state(2)
    scores, _ = model.network.running(chunk, start)
    scores.sum().backward()
    assert model.network.output.weight.grad is not None
    with torch.no_grad():
        model.network.output.weight.mul_(2)
        model.front.views.means.add_(1)
        packed, _ = model.network.running(chunk, start)
    torch.testing.assert_close(packed, model.network.running(chunk, start)[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_smaller_weights_answer_nearly_alike(dtype: str, make: Make):
    model, chunk = make(), walks(4, 40)
    with torch.no_grad():
        right, _ = model.answering(chunk, model.network.initial_state(4))
        model.pack(dtype)
        found, _ = model.answering(chunk, model.network.initial_state(4))
    assert 1e-6 < (found - right).abs().max() < 0.1


def test_streams_of_a_packed_model_go_on_alone_in_a_pool_and_from_their_state(make: Make):
    model = make()
    series = [np.asarray(walks(1, 20)[0]) for _ in range(5)]
    expected = [[event.probability for event in answer.running] for answer in model.predict(series)]
    model.pack()
    pool, streams = StreamPool(), [model.stream() for _ in series]
    found: list[list[float]] = [[] for _ in series]
    for start in range(0, 20, 4):
        events = pool.push({one: values[start : start + 3] for one, values in zip(streams, series, strict=True)})
        for place, (one, values) in enumerate(zip(streams, series, strict=True)):
            found[place] += [event.probability for event in events[one]]
            another = model.stream()  # goes on in its stead
            another.restore(one.state())
            streams[place] = another
            found[place] += [event.probability for event in another.push(values[start + 3 : start + 4])]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_the_kernels_cannot_run_stays_in_torch(make: Make):
    model = make(layer="lru")
    plainly = model.network.running
    assert model.pack()
    assert model.network.running == plainly
