"""What the pages show works: Python blocks, `rnnkit` command lines, and the examples in docstrings.

Each page starts in an empty folder that holds `input.txt` and `other.txt`, two small texts, `texts.txt`, two lines,
`reviews.csv`, labelled sentences, `entities.conll`, tagged ones, `strokes.jsonl`, labelled strokes, `samples.jsonl`,
points, `pairs.tsv`, `some.en` and `some.fr`, sentences with translations, `words`, recordings by label, `clips.tsv` and
`wav`, recordings with texts, `recording.wav`, one of them, `sound.pcm`, bare samples, `weather.csv`, a series by days,
and `newer.csv` and `ticks.csv`, which go on from it; its blocks run from top to bottom: a ```python block as it stands,
sharing its names with the page's other blocks; of a ```console block the lines that begin with `$ rnnkit` or `$ curl`,
the others being what they print; a ```javascript block by Node. A line that ends with ` &` goes on until the page ends,
on a free port in place of 8000. Training is cut to three steps, in place of any `--minutes`, `--epochs` or `--steps`
(`minutes=` and so on in Python).
A block below the line
`<!-- not run: reason -->` is left out.
"""

import contextlib
import doctest
import importlib
import io
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright._impl._driver import compute_driver_executable

from rnnkit.cli import main
from rnnkit.data.samples import sample_path
from rnnkit.layers import LAYERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted((ROOT / "src" / "rnnkit").rglob("*.py"))

QUICK_PAGES = ("README.md", "serving.md", "kernels.md", "layers.md", "forecasting.md")  # the others train for longer
STEPS = 3
TRAINING_VERBS = {"train", "demo", "compare"}
COMMAND_SECONDS = 120
REVIEW_LINES = 200
PAIRS = 100
TAGGED_SENTENCES = 100
SOUND_RATE, SOUND_SAMPLES = 8000, 2400
OTHER_LINES = 100  # an evaluation that goes on learning takes a step every few words
BLOCK = re.compile(
    r"(?P<skip><!-- not run: .+? -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
LENGTH_OPTION = re.compile(r"\s--(minutes|epochs|steps|seeds|length)[ =]\S+")
LENGTH_ARGUMENT = re.compile(r"\b(minutes|epochs|steps)=[\d.]+")


@dataclass(frozen=True)
class Block:
    """One block of a page, with the line it starts on."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """List the blocks to run."""
    return [
        Block(match["language"], match["text"], page.count("\n", 0, match.start("text")) + 1)
        for match in BLOCK.finditer(page)
        if match["skip"] is None
    ]


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """List the command lines of a console block with their line numbers."""
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith(("$ rnnkit", "$ curl")):
            yield number, line.removeprefix("$ ")


def shortened(command: str) -> str:
    """Cut the training of a command line to a few steps."""
    words = shlex.split(command, comments=True)
    if len(words) < 2 or (words[1] not in TRAINING_VERBS and "--demo" not in words):
        return command
    few = {"compare": " --seeds 1", "diagnose": " --length 4"}.get(words[1], "")
    return LENGTH_OPTION.sub("", shlex.join(words)) + f" --steps {STEPS}{few}"


def run_command(command: str, folder: Path) -> None:
    """Run one `rnnkit` command line, with `< FILE` and `> FILE` but no shell; without a new process where it can be."""
    words = shlex.split(shortened(command), comments=True)
    if words[0] == "curl":
        subprocess.run(
            [*words, "--fail-with-body"], cwd=folder, check=True, capture_output=True, timeout=COMMAND_SECONDS
        )
        return
    files = {}
    for sign in "<>":
        if sign in words:
            place = words.index(sign)
            files[sign] = folder / words[place + 1]
            del words[place : place + 2]
    if "--devices" in words:  # further processes begin by the command line of the first
        program = [sys.executable, "-m", "rnnkit", *words[1:]]
        done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        code, printed = done.returncode, done.stdout + done.stderr
    else:
        code, printed = run_here(words[1:], files.get("<"), files.get(">"))
    assert code == 0, f"{command}\n{printed}"


def run_here(words: list[str], source: Path | None, target: Path | None) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed beside its output to a file."""
    output, errors = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(b"" if source is None else source.read_bytes()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        patch.setattr(sys, "stdin", stdin)
        code = main(words)
    if target is not None:
        target.write_text(output.getvalue(), "utf-8")
    return code, output.getvalue() + errors.getvalue()


@contextlib.contextmanager
def going_on(command: str, folder: Path) -> Iterator[None]:
    """Run a command line that goes on, from when it says that it serves."""
    words = shlex.split(command.removesuffix("&"))
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            assert " serves " in said, said + process.stdout.read()
            yield
        finally:
            process.terminate()


def run_page(text: str, name: str, folder: Path) -> None:
    """Run the blocks of a page in order, in the current folder `folder`."""
    names: dict[str, Any] = {"__name__": "__page__"}
    if ":8000" in text:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = text.replace(":8000", f":{taken.getsockname()[1]}").replace(
                "--port 8000", f"--port {taken.getsockname()[1]}"
            )
    with contextlib.ExitStack() as running:
        for block in blocks(text):
            if block.language == "python":
                source = "\n" * (block.line - 1) + LENGTH_ARGUMENT.sub(f"steps={STEPS}", block.text)
                exec(compile(source, name, "exec"), names)
            elif block.language == "javascript":
                node = [str(compute_driver_executable()[0]), "--input-type=module", "-e", block.text]
                subprocess.run(node, check=True, timeout=COMMAND_SECONDS)
            elif block.language == "console":
                run_commands(block, name, folder, running)


def run_commands(block: Block, name: str, folder: Path, running: contextlib.ExitStack) -> None:
    """Run the command lines of a block."""
    for line, command in commands(block):
        try:
            if command.endswith(" &"):
                running.enter_context(going_on(command, folder))
            else:
                run_command(command, folder)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            pytest.fail(f"{name}:{line}: {error}")


@pytest.fixture
def page_folder(tmp_path: Path, tiny_text: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the folder that a page's blocks run in; a layer that a page adds is taken out again."""
    shutil.copy(tiny_text, tmp_path / "input.txt")
    lines = tiny_text.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "other.txt").write_text("".join(lines[-OTHER_LINES:]), "utf-8")
    (tmp_path / "texts.txt").write_text("A slow start, then pure joy.\nNot good at all.\n", "utf-8")
    reviews = sample_path("reviews").read_text("utf-8").splitlines(keepends=True)
    pairs = sample_path("sentences").read_text("utf-8").splitlines()[:PAIRS]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs), "utf-8")
    for name, side in (("some.en", 0), ("some.fr", 1)):
        (tmp_path / name).write_text("".join(f"{pair.split(chr(9))[side]}\n" for pair in pairs[: PAIRS // 2]), "utf-8")
    (tmp_path / "reviews.csv").write_text("".join(reviews[:REVIEW_LINES]), "utf-8")
    sentences = sample_path("entities").read_text("utf-8").split("\n\n")
    (tmp_path / "entities.conll").write_text("\n\n".join(sentences[:TAGGED_SENTENCES]), "utf-8")
    shutil.copy(sample_path("strokes"), tmp_path / "strokes.jsonl")
    (tmp_path / "samples.jsonl").write_text("[10, 10, 0]\n[12, 11, 20]\n[15, 13, 40]\n", "utf-8")
    make_recordings(tmp_path)
    shutil.copy(sample_path("weather"), tmp_path / "weather.csv")
    following = "date,temp_max\n" + "".join(f"2016/01/{day:02},{day % 9}.5\n" for day in range(1, 21))
    for name in ("newer.csv", "ticks.csv"):
        (tmp_path / name).write_text(following, "utf-8")
    monkeypatch.chdir(tmp_path)
    known = dict(LAYERS)
    yield tmp_path
    LAYERS.clear()
    LAYERS.update(known)


def make_recordings(folder: Path) -> None:
    """Write tones of two pitches as recordings of two labels, one as bare samples, and recordings with their texts."""
    seconds = np.arange(SOUND_SAMPLES) / SOUND_RATE
    for label, pitch in (("yes", 400), ("no", 1200)):
        (folder / "words" / label).mkdir(parents=True)
        for number in range(10):
            sound = 0.3 * np.sin(2 * np.pi * (pitch + 10 * number) * seconds)
            soundfile.write(folder / "words" / label / f"{number}.wav", sound, SOUND_RATE)
    sample = sample_path("digits")
    shutil.copytree(sample.parent / "wav", folder / "wav")
    shutil.copy(sample, folder / "clips.tsv")
    shutil.copy(sample.parent / "wav" / "5_theo_11.wav", folder / "recording.wav")
    (folder / "sound.pcm").write_bytes((10_000 * np.sin(2 * np.pi * 400 * seconds)).astype("<i2").tobytes())


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page.name in QUICK_PAGES else pytest.mark.slow) for page in PAGES],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_what_a_page_shows_works(page: Path, page_folder: Path):
    run_page(page.read_text("utf-8"), page.name, page_folder)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_the_examples_in_docstrings_work(path: Path, request: pytest.FixtureRequest):
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    given = {"getfixture": request.getfixturevalue}  # as pytest's own doctest runner gives
    failures, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS, extraglobs=given)
    assert failures == 0, f"{module.__name__}: see the output above"


def test_every_layer_stands_in_the_table():
    page = (ROOT / "docs" / "layers.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert named >= LAYERS.keys()


# The runner itself


def test_blocks_are_found_with_their_lines():
    page = "# Title\n\n```python\na = 1\n```\ntext\n```text\nb\n```\n"
    assert blocks(page) == [Block("python", "a = 1\n", 4), Block("text", "b\n", 8)]


def test_a_block_marked_as_not_run_is_left_out():
    assert blocks("<!-- not run: it never ends -->\n```python\nx\n```\n\n```python\ny\n```\n") == [
        Block("python", "y\n", 7)
    ]


def test_a_block_without_a_language_does_not_swallow_the_next():
    page = "```\nlayout\n```\n\n```python\ny\n```\n"
    assert [block.text for block in blocks(page)] == ["y\n"]


def test_only_prompted_lines_are_commands():
    block = Block("console", "$ rnnkit inspect input.txt\nrnnkit is great\n$ make demo\n", 5)
    assert list(commands(block)) == [(5, "rnnkit inspect input.txt")]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("rnnkit train language-model a.txt --minutes 3", "rnnkit train language-model a.txt --steps 3"),
        ("rnnkit train x a.txt --epochs=2 --seed 1  # said", "rnnkit train x a.txt --seed 1 --steps 3"),
        ("rnnkit demo", "rnnkit demo --steps 3"),
        ("rnnkit generate runs/a --prompt 'A B'", "rnnkit generate runs/a --prompt 'A B'"),
    ],
)
def test_training_is_cut_short(command: str, expected: str):
    assert shortened(command) == expected


def test_python_blocks_share_their_names_and_are_cut_short(tmp_path: Path):
    page = "```python\nseen = dict(minutes=30, seed=1)\n```\n\n```python\nassert seen == dict(steps=3, seed=1)\n```\n"
    run_page(page, "page.md", tmp_path)


def test_a_failing_block_is_reported_with_its_line(tmp_path: Path):
    with pytest.raises(ZeroDivisionError) as caught:
        run_page("text\n\n```python\na = 1\n1 / 0\n```\n", "page.md", tmp_path)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == ("page.md", 5)
