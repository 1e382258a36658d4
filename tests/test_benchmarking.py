"""Measuring speed."""

import pytest
import torch

from rnnkit.benchmarking import OURS, Case, measure
from rnnkit.benchmarking.limits import Work
from rnnkit.kernels.core import MISSING, core

native = pytest.mark.skipif(core is None, reason=MISSING)


@native
@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_product_of_matrices_comes_near_the_limit_and_not_above(threads):
    size = 512
    matrix = torch.randn(size, size)
    work = Work(products=size**3, bytes_read=3 * 4 * size**2)
    row = measure(Case("", "", threads, {OURS: lambda: matrix @ matrix}, work), seconds=1)
    assert row.share_of_limit is not None
    assert 0.4 < row.share_of_limit < 1.3
    assert row.limits["products"] > row.limits["reading"]


@native
def test_a_sum_of_numbers_is_bound_by_reading():
    numbers = torch.ones(1 << 17)  # in the core's own cache, whose speed no neighbour changes
    work = Work(products=1, bytes_read=4 * len(numbers))
    row = measure(Case("", "", 1, {OURS: numbers.sum}, work), seconds=1)
    assert row.share_of_limit is not None
    assert 0.2 < row.share_of_limit < 1.3
    assert row.limits["reading"] > row.limits["products"]
