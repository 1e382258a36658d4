import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnkit.errors import ShapeError
from rnnkit.sequences import check_lengths, reverse_within_lengths, valid_mask, zero_padding


@st.composite
def padded_batches(draw):
    batch, time, size = draw(st.integers(0, 4)), draw(st.integers(0, 6)), draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(0, time), min_size=batch, max_size=batch))
    values = torch.arange(1.0, 1.0 + batch * time * size).view(batch, time, size)
    return values, torch.tensor(lengths, dtype=torch.int64)


def test_a_mask_marks_the_steps_before_each_end():
    assert valid_mask(torch.tensor([2, 0, 3]), 3).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]


@given(padded_batches())
def test_zero_padding_keeps_the_valid_steps_and_clears_the_rest(case):
    values, lengths = case
    cleared = zero_padding(values, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(cleared[row, :length], values[row, :length])
        assert (cleared[row, length:] == 0).all()


def test_zero_padding_stops_what_is_not_a_number_in_both_passes():
    values = torch.tensor([[[1.0], [float("nan")], [float("inf")]]], requires_grad=True)
    cleared = zero_padding(values, torch.tensor([1]))
    assert cleared.flatten().tolist() == [1, 0, 0]
    cleared.square().sum().backward()
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [2, 0, 0]


def test_without_lengths_all_steps_are_valid():
    values = torch.randn(2, 3, 4)
    assert zero_padding(values, None) is values
    assert torch.equal(reverse_within_lengths(values, None), values.flip(1))


def test_zero_padding_keeps_the_type():
    assert zero_padding(torch.ones(1, 2, 1, dtype=torch.bfloat16), torch.tensor([1])).dtype == torch.bfloat16


@given(padded_batches())
def test_reversal_turns_the_valid_steps_and_leaves_the_padding(case):
    values, lengths = case
    turned = reverse_within_lengths(values, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(turned[row, :length], values[row, :length].flip(0))
        assert torch.equal(turned[row, length:], values[row, length:])


@given(padded_batches())
def test_reversal_is_its_own_inverse(case):
    values, lengths = case
    assert torch.equal(reverse_within_lengths(reverse_within_lengths(values, lengths), lengths), values)


def test_reversal_sends_each_gradient_back_to_its_step():
    values = torch.randn(1, 4, 1, requires_grad=True)
    (reverse_within_lengths(values, torch.tensor([3])) * torch.tensor([1.0, 2, 3, 4])[:, None]).sum().backward()
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [3, 2, 1, 4]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_whole_numbers_of_any_type_become_int64(dtype):
    checked = check_lengths(torch.tensor([0, 3], dtype=dtype), batch=2, time=3)
    assert checked.dtype == torch.int64
    assert checked.tolist() == [0, 3]


def test_no_lengths_of_no_batch_are_right():
    assert check_lengths(torch.zeros(0, dtype=torch.int64), batch=0, time=5).shape == (0,)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1, 4]), "run from 1 to 4; expected 0 to 3"),
        (torch.tensor([-2, 1]), "run from -2 to 1"),
        (torch.tensor([1, 2, 3]), r"int64 \(3,\); expected whole numbers \(2,\)"),
        (torch.tensor([[1, 2]]), r"\(1, 2\)"),
        (torch.tensor([0.5, 1.0]), "float32"),
    ],
)
def test_wrong_lengths_are_refused_with_their_values(lengths, message):
    with pytest.raises(ShapeError, match=message):
        check_lengths(lengths, batch=2, time=3)
