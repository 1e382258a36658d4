"""What every test shares: a fixed number of threads, a small text, and the real data where it is present."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from PIL import Image

from rnnkit.data.samples import sample_path
from rnnkit.figures import drawing

TINY_TEXT_BYTES = 20_000

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: what it decorates is one or the other

# No deadline: the first example of a test pays for torch's start-up. Derandomized: a failure repeats on any machine.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def fixed_threads(request: pytest.FixtureRequest) -> None:
    """Use the same number on any machine, for it changes the order of sums: two where C++ shares work among threads."""
    several = request.path.parent.name == "kernels" or request.path.name == "test_session.py"
    torch.set_num_threads(2 if several else 1)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Start each test from the same random numbers, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Triton kernels take chunks so small that short calls take several, and an interpreter not long."""
    if find_spec("triton") is not None:
        monkeypatch.setattr("rnnkit.kernels.triton_scan.CHUNK_STEPS", 4)
        monkeypatch.setattr("rnnkit.kernels.triton_scan.CHUNK_UNITS", 4)


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing where training is tested, most of a short run's time: tests/test_figures.py looks at pictures."""
    if request.path.parent.name in ("cli", "tasks", "training") or request.path.name in (
        "test_docs.py",
        "test_examples.py",
    ):
        monkeypatch.setattr(drawing, "write_png", write_blank)


def write_blank(_: Any, path: Path) -> None:
    """Write a PNG of noise, as large as a picture."""
    Image.frombytes("L", (256, 256), os.urandom(256 * 256)).save(path)


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the first 20 kB of the bundled sample, cut at a line end."""
    text = sample_path("shakespeare").read_bytes()[:TINY_TEXT_BYTES]
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_bytes(text[: text.rfind(b"\n") + 1])
    return path


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real data sets, or skip."""
    folder = os.environ.get("RNNKIT_DATA")
    if not folder:
        pytest.skip("RNNKIT_DATA is not set: it names the folder of real data sets")
    if not Path(folder).is_dir():
        pytest.skip(f"RNNKIT_DATA is {folder}, which is not a folder")
    return Path(folder)
