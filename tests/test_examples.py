from pathlib import Path

import pytest

from rnnkit.config import read_toml
from rnnkit.tasks import find_task
from rnnkit.training import train
from rnnkit.training.launch import read_configs

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_is_written_in_it(path: Path):
    written = read_toml(path)
    configs = read_configs(find_task(written["task"]), path, {})
    for section in ("model", "training"):
        assert {name: getattr(configs[section], name) for name in written.get(section, {})} == written.get(section, {})


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem == "awd-lstm" else ()) for path in EXAMPLES],
    ids=lambda path: path.stem,
)
def test_an_example_trains(path: Path, tiny_text: Path, tmp_path: Path):
    task = read_toml(path)["task"]
    result = train(task, tiny_text, run=tmp_path / "run", config=path, steps=1)
    assert result.steps == 1
