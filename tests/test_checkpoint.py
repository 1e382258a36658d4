"""Folders survive whatever happens to them, or say what is wrong."""

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rnnkit import checkpoint
from rnnkit.checkpoint import Run, load, load_baseline, save_model, write_folder
from rnnkit.data.readers import Corpus, Document
from rnnkit.errors import CheckpointError, ConfigError, RunError
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig

TEXT = "some text to model, which is not long"


def make(**options: Any) -> LanguageModel:
    config = LanguageModelConfig(**{"hidden_size": 6, "embedding_size": 5, **options})
    model = LanguageModel.prepare(Corpus((Document(TEXT, "made up"),), ()), config)
    model.network.eval()
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Save a small model."""
    save_model(make(), tmp_path / "model")
    return tmp_path / "model"


# Models


def test_a_model_comes_back_bit_for_bit(tmp_path: Path):
    model = make(document_separator="\n\t\\\"'\x7f", forget_bias=0.1, dropout=1 / 3)
    save_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.config == model.config
    assert not again.network.training
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    assert again.predict([TEXT]) == model.predict([TEXT])


def test_a_model_that_was_moved_loads(folder: Path, tmp_path: Path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").name == "language-model"


def test_a_run_folder_is_the_model_in_it(folder: Path):
    assert load(folder.parent).fingerprint == load(folder).fingerprint  # type: ignore[attr-defined]


def test_a_later_version_is_refused_by_number(folder: Path):
    (folder / "version").write_text("7\n")
    with pytest.raises(CheckpointError, match="version 7; this rnnkit reads up to 1"):
        load(folder)


def test_a_missing_folder_is_named_with_the_runs_there_are(tmp_path: Path):
    for name in ("plays", "poems"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
    with pytest.raises(CheckpointError, match=r"novels: there is no such folder; .* holds .*plays, .*poems"):
        load(tmp_path / "novels")


def test_a_missing_folder_in_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere/run: there is no such folder$"):
        load(tmp_path / "nowhere" / "run")


def test_a_foreign_folder_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds no rnnkit model: .*version is missing\.$"):
        load(tmp_path)


def test_a_run_without_a_model_yet_says_so(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="a run without a model yet: resume it"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["config.toml", "weights.safetensors", "vocabulary.json", "text.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_a_damaged_file_is_named(name: str, damage: str, folder: Path):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: content.index(b"\nhidden_size =") + 14 if name == "config.toml" else -9])
    elif damage == "foreign":
        path.write_bytes(b"\x80\x04\x95 this could be a pickle")
    with pytest.raises(CheckpointError, match=name):
        load(folder)


def test_weights_of_other_sizes_than_the_config_are_named_with_both_shapes(folder: Path):
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("hidden_size = 6", "hidden_size = 7"))
    with pytest.raises(CheckpointError, match=r"weight_ih.* is \(24, 5\); config.toml beside it expects \(28, 5\)"):
        load(folder)


def test_a_missing_and_an_extra_weight_are_named(folder: Path):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    bias = weights.pop("output_bias")
    save_file(weights, path)
    with pytest.raises(CheckpointError, match="output_bias is missing"):
        load(folder)
    save_file({**weights, "output_bias": bias, "stranger": bias.clone()}, path)
    with pytest.raises(CheckpointError, match=r"stranger is .*expects no such tensor"):
        load(folder)


def test_a_typo_in_the_config_is_named_with_the_nearest_option(folder: Path):
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("\nhidden_size =", "\nhiden_size ="))
    with pytest.raises(CheckpointError, match=r"config\.toml.*hiden_size.*did you mean hidden_size\?"):
        load(folder)


def test_a_model_of_an_unknown_task_is_refused_by_name(folder: Path):
    path = folder / "config.toml"
    path.write_text(path.read_text().replace('"language-model"', '"language-modle"'))
    with pytest.raises(CheckpointError, match="'language-modle'.*language-model"):
        load(folder)


def test_a_device_that_is_not_there_is_refused(folder: Path):
    with pytest.raises(ConfigError, match="device is 'abacus'"):
        load(folder, device="abacus")


def test_a_damaged_baseline_is_named(folder: Path):
    run = Run(folder.parent)
    run.baseline.mkdir()
    run.baseline_scores.write_text("{}")
    (run.baseline / "ngram.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"ngram\.npz"):
        load_baseline(load(folder), folder.parent)


# Writing


def fill(word: str):
    def write(aside: Path) -> None:
        (aside / "inner").mkdir()
        (aside / "inner" / "file").write_text(word)

    return write


def content(folder: Path) -> str:
    return (folder / "inner" / "file").read_text()


def test_a_folder_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path):
    write_folder(tmp_path / "x", fill("old"))
    write_folder(tmp_path / "x", fill("new"))
    assert content(tmp_path / "x") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RunError),
        (ValueError("a fault"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_writer_that_fails_leaves_what_was_there(error: BaseException, raised: type[BaseException], tmp_path: Path):
    write_folder(tmp_path / "x", fill("old"))

    def write(aside: Path) -> None:
        fill("half")(aside)
        raise error

    with pytest.raises(raised):
        write_folder(tmp_path / "x", write)
    assert content(tmp_path / "x") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_a_failed_run_that_names_the_folder(tmp_path: Path):
    def write(aside: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="x could not be written: .*No space left on device.*free some space") as caught:
        write_folder(tmp_path / "x", write)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("call", range(1, 4))
def test_a_model_loads_whichever_rename_a_crash_prevents(call: int, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A kill between the two renames leaves the old model under its other name, from where it is loaded."""
    old, new = load(folder.parent), make()
    calls = []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == call:
            raise KeyboardInterrupt
        os.replace(self, target)
        return target

    monkeypatch.setattr(Path, "rename", rename)
    try:
        save_model(new, folder)
        expected = new
    except KeyboardInterrupt:
        expected = old
    assert load(folder.parent).predict([TEXT]) == expected.predict([TEXT])
    monkeypatch.undo()
    save_model(new, folder)
    assert load(folder.parent).predict([TEXT]) == new.predict([TEXT])
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


# Runs


def save_steps(run: Run, *steps: int) -> None:
    for step in steps:
        run.save_checkpoint({"weight": torch.full((3,), float(step))}, {"step": step}, step=step)


def test_the_last_two_checkpoints_are_kept(tmp_path: Path):
    run = Run(tmp_path)
    save_steps(run, 1, 5, 1000, 20000)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["000001000", "000020000"]
    tensors, facts = run.load_checkpoint()
    assert facts["step"] == 20000
    assert tensors["weight"].tolist() == [20000.0] * 3


@pytest.mark.parametrize("damage", ["cut", "empty", "no json", "no facts", "no tensors"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("rnnkit"), "propagate", True)
    run = Run(tmp_path)
    save_steps(run, 3, 4)
    newest = run.checkpoints / "000000004"
    tensors = newest / "state.safetensors"
    match damage:
        case "cut":
            tensors.write_bytes(tensors.read_bytes()[:-5])
        case "empty":
            tensors.write_bytes(b"")
        case "no json":
            (newest / "state.json").write_text('{"step": 4')
        case "no facts":
            (newest / "state.json").write_text("[]")
        case "no tensors":
            tensors.unlink()
    assert run.load_checkpoint()[1]["step"] == 3
    assert "000000004 is damaged" in caplog.text
    save_steps(run, 4)
    assert run.load_checkpoint()[1]["step"] == 4


def test_without_a_whole_checkpoint_the_damaged_ones_are_named(tmp_path: Path):
    run = Run(tmp_path)
    with pytest.raises(CheckpointError, match="holds no checkpoint to resume from$"):
        run.load_checkpoint()
    save_steps(run, 3)
    (run.checkpoints / "000000003" / "state.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint to resume from; damaged: .*000000003"):
        run.load_checkpoint()


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path):
    run = Run(tmp_path)
    save_steps(run, 3)
    path = run.checkpoints / "000000003" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 9}))
    with pytest.raises(CheckpointError, match="version 9; this rnnkit reads up to 1"):
        run.load_checkpoint()


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    run = Run(tmp_path)
    save_steps(run, 3)
    (run.checkpoints / ".000000004.new").mkdir()
    save_steps(run, 5)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["000000003", "000000005"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run(tmp_path)
    save_steps(run, 3)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match="000000004 could not be written.*No space"):
        save_steps(run, 4)
    assert run.load_checkpoint()[1]["step"] == 3


def test_a_log_that_a_crash_cut_short_is_read_up_to_there(tmp_path: Path):
    run = Run(tmp_path)
    assert run.records() == []
    run.log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert run.records() == [{"step": 1}, {"step": 2}]
    run.cut_log(last_step=1)
    assert run.log.read_text() == '{"step": 1}\n'


def test_clearing_a_run_leaves_other_files_alone(tmp_path: Path):
    run = Run(tmp_path)
    save_steps(run, 1)
    for name in ("config.toml", "log.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    run.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_locked_run_is_refused_and_free_again_afterwards(tmp_path: Path):
    run = Run(tmp_path / "run")
    with run.locked(), pytest.raises(ConfigError, match="run is being trained by another process"), run.locked():
        pass
    with run.locked():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    message = "file/run cannot be written: Not a directory; choose another with --run"
    with pytest.raises(ConfigError, match=message), Run(tmp_path / "file" / "run").locked():
        pass
