"""The package as a user imports it."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rnnkit

ROOT = Path(__file__).parent.parent


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "numpy", "lightning_fabric", "matplotlib", "rich", "tokenizers")
    script = f"import sys, rnnkit; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("name", rnnkit.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(rnnkit, name) is not None
    assert name in dir(rnnkit)


def test_lazy_names_are_those_of_their_homes():
    assert rnnkit.load is importlib.import_module("rnnkit.checkpoint").load
    assert rnnkit.LSTM is importlib.import_module("rnnkit.layers").LSTM
    assert rnnkit.train is importlib.import_module("rnnkit.training").train
    assert rnnkit.kernels is importlib.import_module("rnnkit.kernels")


def test_every_error_and_layer_is_public():
    errors = vars(importlib.import_module("rnnkit.errors")).values()
    assert {error.__name__ for error in errors if isinstance(error, type)} <= set(rnnkit.__all__)
    assert {layer.__name__ for layer in rnnkit.LAYERS.values()} <= set(rnnkit.__all__)


def test_what_a_type_checker_sees_is_what_there_is():
    source = Path(rnnkit.__file__).read_text("utf-8")
    lines = [line.split() for line in source.splitlines() if line.startswith("    from rnnkit")]
    declared = {words[-1] for words in lines if words[-2] == "as"}
    assert declared | {"__version__"} == set(rnnkit.__all__)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'rnnkit' has no attribute 'LTSM'"):
        _ = rnnkit.LTSM


def test_the_version_is_the_one_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert rnnkit.__version__ == project["version"]
