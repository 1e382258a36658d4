"""Run the tests of the C++ kernels on a build of rnnkit in another folder, given as the argument."""

import sys

import pytest

sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]  # the editable one
sys.path.insert(0, sys.argv[1])

import rnnkit.kernels.core  # noqa: E402

assert sys.argv[1] in (rnnkit.kernels.core.core.__file__ or ""), "another build of the kernels was found"
# The sanitizer keeps freed memory for a while, so that its growth tells nothing, and takes minutes to do so.
CHOSEN = "(native or session or program or packed_series) and not memory_does_not_grow"
PLACES = ["tests/kernels", "tests/test_session.py", "tests/tasks/test_packed_series.py"]
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *PLACES, "-k", CHOSEN]))
