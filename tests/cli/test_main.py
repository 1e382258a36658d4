import io
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnnkit
from rnnkit.checkpoint import Run
from rnnkit.cli import VERBS, main
from rnnkit.tasks import TASKS

RNNKIT = [sys.executable, "-m", "rnnkit"]
SMALL = ["--hidden-size", "16", "--embedding-size", "8", "--bptt", "16", "--batch-size", "4"]


@pytest.fixture(scope="module")
def trained(tiny_text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert (
        main(["train", "language-model", str(tiny_text), "--run", str(folder), "--steps", "30", "--quiet", *SMALL]) == 0
    )
    return folder


@pytest.fixture
def place(tmp_path, tiny_text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_text, "input.txt")
    return tmp_path


def refused(capsys, *words):
    """Run a command that must be refused; return its one message."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("rnnkit: ")]
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]


# What a user can do


def test_help_names_every_verb_and_answers_in_half_a_second():
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*RNNKIT, "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert all(verb in done.stdout for verb in VERBS)
    assert min(seconds) < 0.5  # of processor time, which a busy machine does not stretch


def test_a_run_is_named_after_its_file_and_reports_beside_the_baseline(place, capsys):
    assert main(["train", "language-model", "input.txt", "--steps", "2", *SMALL]) == 0
    captured = capsys.readouterr()
    assert "n-gram" in captured.out
    assert "runs/input" in captured.out
    assert "kept for validation" in captured.err
    names = {path.name for path in Path("runs/input").iterdir()}
    assert {"config.toml", "log.jsonl", "curves.png", "tokens", "baseline", "checkpoints", "model"} <= names


def test_the_everyday_name_of_a_task_works_too(place):
    assert main(["train", "lm", "input.txt", "--steps", "1", "--quiet", *SMALL]) == 0


def test_json_reports_are_one_object_with_the_common_keys(trained, tiny_text, capsys):
    assert main(["evaluate", str(trained), str(tiny_text), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"task", "model", "data", "metrics", "baselines", "seconds"} <= report.keys()
    assert report["metrics"]["nats"] == pytest.approx(math.log(report["metrics"]["perplexity"]))
    assert report["baselines"]["n-gram"].keys() == report["metrics"].keys()


def test_evaluate_says_what_packed_weights_cost(trained, tiny_text, capsys):
    assert main(["evaluate", str(trained), str(tiny_text), "--json"]) == 0
    exact = json.loads(capsys.readouterr().out)["metrics"]["nats"]
    assert main(["evaluate", str(trained), str(tiny_text), "--weights", "int8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights"] == "int8"
    assert 0 < abs(told["metrics"]["nats"] - exact) < 0.05
    assert "packed weights cannot" in refused(capsys, "evaluate", str(trained), "--weights", "int8", "--dynamic")


def test_evaluate_without_data_takes_the_validation_data_of_the_run(trained, capsys):
    assert main(["evaluate", str(trained), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    valid = rnnkit.load(trained).load_data(trained / "tokens" / "valid")
    assert report["metrics"]["nats"] == pytest.approx(rnnkit.load(trained).score(valid)["nats"], rel=1e-6)


def test_generate_prints_the_prompt_and_what_python_writes(trained, capsys):
    assert (
        main(["generate", str(trained), "--prompt", "ROMEO:", "--max-tokens", "40", "--seed", "7", "--top-k", "5"]) == 0
    )
    written = rnnkit.load(trained).generate("ROMEO:", max_tokens=40, seed=7, top_k=5)
    assert capsys.readouterr().out == f"ROMEO:{written}\n"


def test_several_samples_are_those_of_the_seeds_that_follow(trained, capsys):
    words = ["generate", str(trained), "--prompt", "A", "--max-tokens", "20", "--seed", "3", "--samples", "2", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    model = rnnkit.load(trained)
    assert report["samples"] == [model.generate("A", max_tokens=20, seed=seed) for seed in (3, 4)]


def test_the_overlap_with_the_training_text_is_told_on_request(trained, tiny_text, capsys):
    words = ["generate", str(trained), "--prompt", "ROMEO:", "--max-tokens", "60", "--seed", "7", "--overlap"]
    assert main([*words, "--passage-tokens", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    [written], [found] = report["samples"], report["overlaps"]
    read = tiny_text.read_text()[: int(0.9 * len(tiny_text.read_text()))]  # the rest is kept for validation
    pieces = {written[i : i + n] for n in range(1, 61) for i in range(61 - n)}
    longest = max((piece for piece in pieces if piece in read), key=len)
    assert (found["tokens"], found["characters"], len(found["passage"])) == (len(longest),) * 3
    assert found["passage"] in written
    assert found["passage"] in read
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ROMEO:{written}\n---\nlongest copy: {found['tokens']} tokens")
    assert "in copies of 50 tokens or more: 0.0% of the text" in out


def test_each_sample_has_its_own_overlap(trained, capsys):
    words = ["generate", str(trained), "--samples", "2", "--max-tokens", "9", "--seed", "1", "--overlap"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "--- sample 2: overlap with the training text" in out
    assert out.count("longest copy: ") == 2


def test_predict_takes_a_text_a_file_and_standard_input_alike(trained, capsys, tmp_path, monkeypatch):
    path = tmp_path / "line.txt"
    path.write_text("The cat")
    monkeypatch.setattr("sys.stdin", io.StringIO("The cat"))
    answers = []
    for words in (["The cat"], [str(path)], ["-"], ["--text", "The cat"], ["--file", str(path)]):
        assert main(["predict", str(trained), *words, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert all(answer == answers[0] for answer in answers)
    assert [token["token"] for token in answers[0]["tokens"]] == list("The␣cat")
    assert sum(token["nats"] for token in answers[0]["tokens"]) == pytest.approx(answers[0]["nats"])


def test_stream_prints_one_event_a_token(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("To be,\nor not"))
    assert main(["stream", str(trained), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (offline,) = rnnkit.load(trained).predict(["To be,\nor not"])
    assert [event["token"] for event in events] == [token.token for token in offline.tokens]
    assert [event["nats"] for event in events] == pytest.approx([token.nats for token in offline.tokens], rel=1e-4)


def test_inspect_says_what_is_in_a_file(tiny_text, capsys):
    assert main(["inspect", "language-model", str(tiny_text)]) == 0
    out = capsys.readouterr().out
    assert "utf-8" in out
    assert "character" in out
    assert main(["inspect", "language-model", str(tiny_text), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["characters"] == len(tiny_text.read_text())


@pytest.mark.parametrize("task", TASKS)
def test_the_printed_config_trains_as_it_is(task, place, capsys):
    assert main(["config", task]) == 0
    Path("all.toml").write_text(capsys.readouterr().out)
    words = ["train", task, str(TASKS[task].demo_data()), "--config", "all.toml", "--run", "run", "--steps", "1"]
    assert main([*words, "--quiet", "--hidden-size", "16"]) == 0
    saved = Path("run/config.toml").read_text()
    assert "hidden_size = 16" in saved
    assert "steps = 1" in saved


def test_none_unsets_an_option_that_has_a_default(place):
    assert main(["train", "lm", "input.txt", "--steps", "1", "--quiet", "--clip-norm", "none", *SMALL]) == 0
    assert 'clip_norm = "none"' in Path("runs/input/config.toml").read_text()


def test_demo_trains_evaluates_and_writes(place, capsys):
    assert main(["demo", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "n-gram" in out
    assert "ROMEO:" in out


def test_tensorboard_is_written_on_request_and_when_a_run_goes_on(place):
    words = ["train", "lm", "input.txt", "--steps", "2", "--quiet", *SMALL]
    assert main([*words, "--run", "plain"]) == 0
    assert not Path("plain/tensorboard").exists()
    assert main([*words, "--run", "shown", "--tensorboard"]) == 0
    assert list(Path("shown/tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_keeps_a_checkpoint_and_resume_goes_on(number, code, place, capsys):
    words = ["train", "lm", "input.txt", "--steps", "100000", *SMALL]
    process = subprocess.Popen([*RNNKIT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = Path("runs/input/log.jsonl")
    while not (log.is_file() and log.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "rnnkit train --resume runs/input" in out
    text = Path("runs/input/config.toml").read_text()
    step = json.loads(max(Path("runs/input/checkpoints").glob("*/state.json")).read_text())["step"]
    Path("runs/input/config.toml").write_text(text.replace("steps = 100000", f"steps = {step + 5}"))
    assert main(["train", "--resume", "runs/input", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == step + 5


def test_a_run_that_diverges_is_exit_code_3_and_keeps_a_checkpoint_and_a_report(place, capsys):
    words = ["train", "lm", "input.txt", "--steps", "50", "--learning-rate", "1e30", "--clip-norm", "none", *SMALL]
    assert main([*words, "--quiet"]) == 3
    message = capsys.readouterr().err
    assert "training has diverged. The last good checkpoint is kept in runs/input/checkpoints" in message
    assert "Traceback" not in message
    assert list(Path("runs/input/checkpoints").glob("*/state.safetensors"))
    assert "**The run failed**: the loss is " in Path("runs/input/report.md").read_text()


def test_a_second_trainer_is_refused(trained, capsys):
    with Run(trained).locked():
        assert "is being trained by another process" in refused(capsys, "train", "--resume", trained)


def test_a_reader_that_leaves_early_is_no_error(trained):
    text = "a line of text\n" * 200
    process = subprocess.Popen(
        [*RNNKIT, "stream", str(trained)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    try:
        process.stdin.write(text)
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert process.wait(timeout=60) == 0, process.stderr.read()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


# What is refused


def test_a_misspelt_option_names_the_nearest(place, capsys):
    assert "--hidden-size" in refused(capsys, "train", "lm", "input.txt", "--hiden-size", 5)


def test_a_wrong_type_names_the_option_and_the_value(place, capsys):
    message = refused(capsys, "train", "lm", "input.txt", "--hidden-size", "five")
    assert "--hidden-size" in message
    assert "five" in message


def test_a_value_out_of_range_is_named(place, capsys):
    assert "hidden_size is -5" in refused(capsys, "train", "lm", "input.txt", "--hidden-size", "-5")


def test_two_budgets_are_refused(place, capsys):
    assert "minutes and steps" in refused(capsys, "train", "lm", "input.txt", "--minutes", 1, "--steps", 5)


def test_a_config_with_a_typo_names_file_section_and_option(place, capsys):
    Path("bad.toml").write_text("[model]\nhiden_size = 5\n")
    message = refused(capsys, "train", "lm", "input.txt", "--config", "bad.toml")
    assert "bad.toml" in message
    assert "hiden_size" in message
    assert "hidden_size" in message


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("empty.txt", b"", "empty"),
        ("blank.txt", b" \n\n", "empty"),
        ("program.bin", b"\x7fELF" + bytes(300), "program.bin"),
        ("letter.txt", b"a", "letter.txt"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_refused_by_name(place, capsys, name, content, part):
    Path(name).write_bytes(content)
    message = refused(capsys, "train", "lm", name, "--steps", 1)
    assert part in message
    assert not Path("runs").exists() or not any(Path("runs").iterdir())


def test_a_one_line_file_trains(place):
    Path("one.txt").write_text("just one line")
    assert main(["train", "lm", "one.txt", "--steps", "2", "--quiet", *SMALL]) == 0


def test_a_missing_file_names_the_near_one(place, capsys):
    assert "input.txt" in refused(capsys, "train", "lm", "imput.txt")


def test_an_existing_run_is_not_touched(place, capsys, trained):
    shutil.copytree(trained, "runs/input")
    before = {path: path.stat().st_mtime_ns for path in Path("runs/input").rglob("*")}
    message = refused(capsys, "train", "lm", "input.txt", "--steps", 1)
    assert all(word in message for word in ("--resume runs/input", "--run", "--overwrite"))
    assert {path: path.stat().st_mtime_ns for path in Path("runs/input").rglob("*")} == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nothing can be made")
def test_an_unwritable_run_folder_is_named(place, capsys):
    assert "/proc/run" in refused(capsys, "train", "lm", "input.txt", "--steps", 1, "--run", "/proc/run")


def test_tensorboard_without_its_package_is_refused_before_anything_is_made(place, capsys, monkeypatch, trained):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "rnnkit[tensorboard]" in refused(capsys, "train", "lm", "input.txt", "--steps", 1, "--tensorboard")
    assert "rnnkit[tensorboard]" in refused(capsys, "train", "--resume", trained, "--tensorboard")
    assert not Path("runs").exists()


def test_a_finished_run_is_not_resumed(capsys, trained):
    assert "finished after 30 steps" in refused(capsys, "train", "--resume", trained)


def test_resume_goes_without_a_task(place, capsys, trained):
    assert "goes without task" in refused(capsys, "train", "lm", "input.txt", "--resume", trained)


def test_an_unknown_task_is_named(place, capsys):
    assert "'sorting'" in refused(capsys, "train", "sorting", "input.txt")


def test_an_unknown_verb_names_the_verbs(capsys):
    assert "train" in refused(capsys, "learn")


def test_a_folder_without_a_model_is_named(place, capsys):
    Path("runs/nothing").mkdir(parents=True)
    assert "runs/nothing" in refused(capsys, "generate", "runs/nothing")
    assert "runs/missing" in refused(capsys, "evaluate", "runs/missing")


def test_a_damaged_model_is_named(capsys, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "run")
    weights = tmp_path / "run" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert str(weights) in refused(capsys, "generate", tmp_path / "run")


def test_an_overlap_needs_the_run_of_the_model(capsys, trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "moved" / "model")
    assert "no training text to compare" in refused(capsys, "generate", tmp_path / "moved" / "model", "--overlap")
    assert "--passage-tokens 9" in refused(capsys, "generate", trained, "--passage-tokens", 9)


def test_sampling_out_of_range_is_refused(capsys, trained):
    assert "top_p got 3.0" in refused(capsys, "generate", trained, "--top-p", 3)


def test_unknown_characters_of_a_prompt_are_named_and_do_not_stop(capsys, trained):
    assert main(["generate", str(trained), "--prompt", "日本 ROMEO", "--max-tokens", "5"]) == 0
    captured = capsys.readouterr()
    assert "'日'" in captured.err
    assert captured.out.startswith("日本 ROMEO")


def test_two_inputs_are_refused(capsys, trained):
    assert "2 inputs" in refused(capsys, "predict", trained, "words", "--text", "more")


@pytest.mark.parametrize("verb", ["stream", "predict"])
def test_standard_input_that_is_no_text_is_refused(capsys, trained, monkeypatch, verb):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good\n\xff bad"), encoding="utf-8"))
    assert "0xff" in refused(capsys, verb, trained, *(["-"] if verb == "predict" else []))


def test_a_fault_of_ours_is_exit_code_1_with_a_traceback(capsys, monkeypatch, trained):
    monkeypatch.setattr("rnnkit.cli.answering.load", lambda *_, **__: 1 / 0)
    assert main(["generate", str(trained)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_debug_shows_where_a_refusal_comes_from(capsys, place):
    assert main(["train", "lm", "missing.txt", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.slow
def test_a_full_disk_is_exit_code_3_and_keeps_the_last_checkpoint(place, capsys):
    Path("disk").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", "disk"], check=False).returncode:
        pytest.skip("this machine cannot mount a small disk")
    try:
        words = [
            "train",
            "lm",
            "input.txt",
            "--steps",
            "400",
            "--run",
            "disk/run",
            "--hidden-size",
            "64",
            "--bptt",
            "16",
        ]
        code = main(words)
        assert code == 3, capsys.readouterr()
        assert "disk/run" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", "disk"], check=True)
