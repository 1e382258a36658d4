"""Exported models run without torch: the same answers as the model's, from a process that cannot import it."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.export.test_onnx import slow_but_one, untrained

import rnnkit.runner
from rnnkit.data.samples import sample_path
from rnnkit.data.series import read_series
from rnnkit.decoding.beam import Beam
from rnnkit.errors import CheckpointError
from rnnkit.export.bundle import export_onnx
from rnnkit.runner.table import RUNNERS
from rnnkit.tasks import TASKS

INPUTS: dict[str, list[Any]] = {
    "language-model": ["To be, or not", "", "Zzz ☃"],
    "text-classification": ["A slow start, then pure joy.", "", "☃ awful"],
    "tagging": ["Angela Merkel visited Toyota in Nagoya.\nShe left.", "", ["The", "Beatles"]],
    "translation": ["the cat is black", "", "tom sees ☃ and a dog"],
    "forecasting": [[3.0, 4.0, None, 5.0, 4.5], [1.0, 2.0]],
    "speech": [str(next(sample_path("digits").parent.rglob("*.wav")))],
}
ALONE = """
import json, sys
from dataclasses import asdict

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
import rnnkit.runner
(folder, inputs) = sys.argv[1:]
print(json.dumps([asdict(one) for one in rnnkit.runner.load(folder).predict(json.loads(inputs))]))
"""


def inputs_of(name: str) -> list[Any]:
    if name == "series-classification":
        return [one.values.tolist() for one in read_series([sample_path("strokes")]).examples[:2]]
    return INPUTS[name]


def agree(found: Any, expected: Any, *, place: str = "") -> None:
    """Fail unless two answers are the same but for the last digits of their numbers."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for name in expected:
            agree(found[name], expected[name], place=f"{place}.{name}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), place
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            agree(one, other, place=f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-5), place
    else:
        assert found == expected, place


def test_every_task_has_a_runner():
    assert RUNNERS.keys() == TASKS.keys()


@pytest.mark.parametrize("name", slow_but_one)
def test_it_answers_as_the_model_does_in_a_process_without_torch(name: str, tmp_path: Path):
    task: Any = untrained(name)
    export_onnx(task, tmp_path / "out")
    inputs = inputs_of(name)
    options = {"beam": Beam(1)} if name == "translation" else {}
    expected = [asdict(one) for one in task.predict(inputs, **options)]
    if name == "translation":
        expected = [{**one, "alternatives": ()} for one in expected]
    command = [sys.executable, "-c", ALONE, str(tmp_path / "out"), json.dumps(inputs)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    agree(json.loads(said.stdout), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text-classification", "series-classification", "tagging", "speech"])
def test_it_answers_as_a_model_that_reads_both_ways(name: str, tmp_path: Path):
    task: Any = untrained(name, bidirectional=True)
    export_onnx(task, tmp_path / "out")
    runner = rnnkit.runner.load(tmp_path / "out")
    agree(
        [asdict(one) for one in runner.predict(inputs_of(name))], [asdict(one) for one in task.predict(inputs_of(name))]
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"layer": "mingru"}, {"context": 8}])
def test_it_forecasts_known_series_as_the_model_does(options: dict[str, Any], tmp_path: Path):
    task: Any = untrained("forecasting", **options)
    export_onnx(task, tmp_path / "out")
    agree(
        [asdict(one) for one in rnnkit.runner.load(tmp_path / "out").predict()], [asdict(one) for one in task.predict()]
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"vocabulary": "bpe"}, {"layer": "transformer"}])
def test_it_writes_what_the_model_thinks_likeliest(options: dict[str, Any], tmp_path: Path):
    task: Any = untrained("language-model", **options)
    export_onnx(task, tmp_path / "out")
    runner = rnnkit.runner.load(tmp_path / "out")
    assert runner.generate("ROMEO:", max_tokens=30) == task.generate("ROMEO:", max_tokens=30, temperature=0)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"bundle\.json cannot be read"):
        rnnkit.runner.load(tmp_path)
    (tmp_path / "bundle.json").write_text('{"format": 99}')
    with pytest.raises(CheckpointError, match="its format is 99; expected 2"):
        rnnkit.runner.load(tmp_path)


def test_a_damaged_export_says_which_file(tmp_path: Path):
    export_onnx(untrained("language-model", layer="mingru"), tmp_path / "out")
    for name in ("model.onnx", "state.npz", "vocabulary.json"):
        right = (tmp_path / "out" / name).read_bytes()
        (tmp_path / "out" / name).write_bytes(right[: len(right) // 2])
        with pytest.raises(CheckpointError, match="cannot be read|no vocabulary"):
            rnnkit.runner.load(tmp_path / "out")
        (tmp_path / "out" / name).write_bytes(right)
    rnnkit.runner.load(tmp_path / "out").predict(["x"])
