"""Every task's networks as ONNX graphs: the same numbers in onnxruntime, at any size, step by step and whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rnnkit.checkpoint import save_model
from rnnkit.cli import main
from rnnkit.errors import ConfigError, RunError
from rnnkit.export.bundle import export_onnx
from rnnkit.export.conversion import convert, largest_error
from rnnkit.export.graphs import graphs_of
from rnnkit.layers import LAYERS
from rnnkit.tasks import TASKS, Task

SMALL = {"hidden_size": 8, "embedding_size": 5}
TINY: dict[str, dict[str, Any]] = {
    "language-model": SMALL,
    "text-classification": SMALL,
    "series-classification": {"hidden_size": 6, "filters": 5},
    "tagging": {**SMALL, "character_units": 5, "bidirectional": False},
    "forecasting": {"hidden_size": 6, "horizon": 3},
    "speech": {"hidden_size": 6, "filters": 5},
    "translation": {**SMALL, "layer": "gru"},
}
ANY_TIME = {"rnn", "relu-rnn", "lstm", "gru", "gru-reset-before", "convolution", "cnn", "transformer", "feedforward"}


def untrained(name: str, **options: Any) -> Task:
    torch.manual_seed(0)
    task_class = TASKS[name]
    config = task_class.config_class(**{**TINY[name], **options})
    task = task_class.prepare(task_class.read([task_class.demo_data()], config), config)
    task.network.eval()
    if getattr(task.network, "direct", None) is not None and hasattr(task.network.direct, "gain"):
        task.network.direct.gain.fill_(0.7)
    return task


LAYERS_OF_A_CASE = [pytest.param(name, marks=() if name == "gru" else pytest.mark.slow) for name in LAYERS]
slow_but_one = [pytest.param(name, marks=() if name == "language-model" else pytest.mark.slow) for name in TASKS]


@pytest.mark.parametrize("name", slow_but_one)
def test_a_task_gives_the_same_numbers_in_onnxruntime(name: str):
    for graph in graphs_of(untrained(name)):
        assert largest_error(convert(graph), graph) < 1e-4
        assert graph.any_time


@pytest.mark.parametrize("layer", LAYERS_OF_A_CASE)
def test_every_layer_is_exported_for_any_number_of_steps_or_one(layer: str):
    (graph,) = graphs_of(untrained("language-model", layer=layer))
    assert graph.any_time == (layer in ANY_TIME)
    assert largest_error(convert(graph), graph) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text-classification", "series-classification", "tagging", "speech"])
def test_what_reads_both_ways_takes_whole_sequences_of_any_length(name: str):
    (graph,) = graphs_of(untrained(name, bidirectional=True))
    assert "lengths" in graph.inputs
    assert largest_error(convert(graph), graph) < 1e-4


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("translation", {"layer": "mingru"}, "encoder reads whole sentences, but ONNX has no operator for MinGRU"),
        ("text-classification", {"layer": "lru", "bidirectional": True}, "reads backwards too.*no operator for LRU"),
        ("speech", {"head": "transducer"}, "a transducer is not exported"),
        ("forecasting", {"distribution": "student-t"}, "draws its forecasts"),
        ("forecasting", {"members": 2}, "has 2 members"),
    ],
)
def test_what_cannot_be_exported_is_refused(name: str, options: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        graphs_of(untrained(name, **options))


def test_a_graph_that_says_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = untrained("language-model")
    right = convert(graphs_of(task)[0])
    with torch.no_grad():
        task.network.output_bias.add_(1)
    monkeypatch.setattr("rnnkit.export.bundle.convert", lambda _: right)
    with pytest.raises(RunError, match="onnxruntime's logits is .* away from the model's"):
        export_onnx(task, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_command_writes_a_folder_that_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    task: Any = untrained("language-model")
    save_model(task, tmp_path / "lm")
    assert main(["export", str(tmp_path / "lm"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["graphs"][0]["any_time"]
    folder = tmp_path / "lm" / "export" / "onnx"
    bundle = json.loads((folder / "bundle.json").read_text())
    assert bundle["graphs"]["model"]["state"] == list(task.network.stack.state_names)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    state = dict(np.load(folder / "state.npz"))
    tokens = task.vocabulary.encode("To be, or").astype(np.int64)[None]
    with torch.inference_mode():
        expected = task.network(torch.from_numpy(tokens))[0].numpy()
    found = []
    for step in range(tokens.shape[1]):  # one at a time: what comes out goes in
        logits, *after = session.run(None, {"tokens": tokens[:, step : step + 1], **state})
        state = dict(zip(bundle["graphs"]["model"]["state"], after, strict=True))
        found.append(logits[:, 0])
    assert np.allclose(np.stack(found, 1), expected, rtol=1e-4, atol=1e-4)


def test_the_command_writes_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_model(untrained("text-classification"), tmp_path / "reviews-1")
    run, folder = str(tmp_path / "reviews-1"), tmp_path / "c"
    assert main(["export", run, "--format", "c", "--weights", "int8"]) == 2
    assert main(["export", run, "--name", "x"]) == 2
    assert main(["export", run, "--format", "c", "--output", str(folder)]) == 0
    assert "reviews_1.h" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"reviews_1.h", "reviews_1_weights.h", "reviews_1_tokens.txt"}


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        export_onnx(untrained("language-model"), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_weights_of_8_bits_make_a_smaller_file(tmp_path: Path):
    task = untrained("language-model", hidden_size=64, embedding_size=64)
    (whole,) = export_onnx(task, tmp_path / "whole")
    (small,) = export_onnx(task, tmp_path / "small", weights="int8")
    assert small.size < 0.8 * whole.size
    kinds = {node.op_type for node in onnx.load(tmp_path / "small" / "model.onnx").graph.node}
    assert "DynamicQuantizeLSTM" in kinds
    with pytest.raises(ConfigError, match="weights is 'int4'"):
        export_onnx(task, tmp_path / "none", weights="int4")
