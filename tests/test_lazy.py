"""Packages whose names are imported when they are used: every name is there, and `dir` lists it."""

from importlib import import_module

import pytest

from rnnkit.tasks import TASKS

PACKAGES = ["rnnkit", "rnnkit.tasks", "rnnkit.tasks.classification"]
PACKAGES += sorted({task.__module__.removesuffix(".task") for task in TASKS.values()})


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there(name: str):
    package = import_module(name)
    for one in package.__all__:
        assert getattr(package, one) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing
