"""Problems that need a memory."""

import math
from pathlib import Path

import pytest
import torch

from rnnkit.diagnosing import PROBLEMS, demonstrate
from rnnkit.diagnosing.problems import solve
from rnnkit.errors import ConfigError


def test_the_adding_problem_asks_for_the_sum_of_the_marked_numbers():
    inputs, targets = PROBLEMS["adding"].make(50, 20, torch.Generator().manual_seed(1))
    assert inputs.shape == (50, 20, 2)
    assert (inputs[..., 1].sum(1) == 2).all()
    assert (inputs[:, :10, 1].sum(1) == 1).all()
    torch.testing.assert_close((inputs[..., 0] * inputs[..., 1]).sum(1), targets[:, 0])
    many = PROBLEMS["adding"].make(20_000, 4, torch.Generator().manual_seed(2))[1]
    assert float(many.var()) == pytest.approx(PROBLEMS["adding"].chance, rel=0.05)


def test_the_copying_problem_asks_for_the_first_symbols_at_the_end():
    inputs, targets = PROBLEMS["copying"].make(5, 12, torch.Generator().manual_seed(1))
    assert inputs.shape == (5, 32, 10)
    assert (inputs[:, :10].argmax(-1) == targets).all()
    assert (inputs[:, 10:21].argmax(-1) == 8).all()
    assert (inputs[:, 21].argmax(-1) == 9).all()


def test_a_short_one_is_solved_and_drawn(tmp_path: Path):
    (found,) = demonstrate(["gru"], problems=["adding"], length=6, steps=1500, folder=tmp_path)
    assert found.solved
    assert found.error < 0.01
    assert found.updates < 1500
    assert 1 <= found.reach.memory <= 5
    assert (tmp_path / "adding.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["lstmm"]}, "layers are lstmm; expected some of rnn"),
        ({"layers": []}, "layers are none"),
        ({"problems": ["sorting"]}, "problems are sorting; expected some of adding, copying"),
        ({"length": 1}, "length is 1; expected 2 or more"),
        ({"steps": 0}, "steps is 0; expected 2 or more"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        demonstrate(**options)


def test_what_diverges_ends_there():
    seen: list[float] = []
    attempt = solve(
        PROBLEMS["adding"], "relu-rnn", time=40, steps=500, learning_rate=1e6, clip_norm=None,
        watch=lambda _, error: seen.append(error),
    )  # fmt: skip
    assert attempt.updates < 500
    assert not math.isfinite(seen[-1])
