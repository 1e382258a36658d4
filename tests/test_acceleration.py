"""An accelerated model is the model: the same modules, parameters, surface and numbers."""

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import rnnkit
from rnnkit import accelerate, decelerate
from rnnkit.acceleration import ACCELERATED

KINDS = {
    "rnn": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "projected": (nn.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    module, own = KINDS[kind]
    return module(4, 6, **own, **options).double()


def flat(results: Any) -> list[Tensor]:
    if isinstance(results, PackedSequence):
        return [results.data]
    return [results] if isinstance(results, Tensor) else [leaf for part in results for leaf in flat(part)]


def measure(module: nn.Module, *arguments: Any) -> list[Tensor]:
    """Return all that comes out, and every gradient."""
    module.zero_grad()
    torch.manual_seed(1)
    results = flat(module(*arguments))
    sum((part * torch.linspace(0.5, 1.5, part.numel()).view_as(part)).sum() for part in results).backward()  # type: ignore[union-attr]
    return [*results, *(parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None)]


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert (one - other).abs().max() <= 1e-10 * max(1.0, other.abs().max().item())


def state_for(module: Any, batch: int | None) -> Any:
    count = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or module.hidden_size, module.hidden_size]
    shape = (count,) if batch is None else (count, batch)
    parts = tuple(torch.randn(*shape, size, dtype=torch.float64) for size in sizes)
    return parts if isinstance(module, nn.LSTM) else parts[0]


@every_kind
@pytest.mark.parametrize(
    ("layers", "bidirectional", "bias", "batch_first"),
    list(itertools.product([1, 3], [False, True], [False, True], [False, True])),
)
def test_numbers_and_gradients_are_those_of_torch(kind, layers, bidirectional, bias, batch_first):
    module = make(kind, num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first)
    inputs = torch.randn(3, 5, 4, dtype=torch.float64)
    batch = 3 if batch_first else 5
    for state in (None, state_for(module, batch)):
        expected = measure(decelerate(module), inputs, state)
        assert_same(measure(accelerate(module), inputs, state), expected)


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_come_out_as_they_went_in(kind, bidirectional):
    module = make(kind, num_layers=2, bidirectional=bidirectional)
    sequences = [torch.randn(length, 4, dtype=torch.float64) for length in (2, 5, 1, 5, 3)]
    padded = nn.utils.rnn.pad_sequence(sequences)
    ordered = pack_padded_sequence(padded[:, [1, 3, 4, 0, 2]], torch.tensor([5, 5, 3, 2, 1]))
    for packed in (pack_sequence(sequences, enforce_sorted=False), ordered):
        for state in (None, state_for(module, 5)):
            expected = measure(decelerate(module), packed, state)
            result = decelerate(module)(packed, state)[0]
            assert_same(measure(accelerate(module), packed, state), expected)
            ours = module(packed, state)[0]
            assert torch.equal(ours.batch_sizes, result.batch_sizes)
            for name in ("sorted_indices", "unsorted_indices"):
                one, other = getattr(ours, name), getattr(result, name)
                assert (one is None) == (other is None)
                assert one is None or torch.equal(one, other)


@pytest.mark.parametrize("kind", ["lstm", "projected"])
def test_a_state_in_a_list_is_taken(kind):
    module, inputs = make(kind), torch.randn(3, 5, 4, dtype=torch.float64)
    state = list(state_for(module, 5))
    expected = measure(decelerate(module), inputs, state)
    assert_same(measure(accelerate(module), inputs, state), expected)


@every_kind
def test_input_without_a_batch_is_taken(kind):
    module, inputs = make(kind, num_layers=2), torch.randn(5, 4, dtype=torch.float64)
    for state in (None, state_for(module, None)):
        expected = measure(decelerate(module), inputs, state)
        assert_same(measure(accelerate(module), inputs, state), expected)


@every_kind
def test_dropout_between_layers_acts_in_training_alone(kind):
    module = accelerate(make(kind, num_layers=2, dropout=0.5))
    inputs = torch.randn(5, 3, 4, dtype=torch.float64)
    one, other = module(inputs)[0], module(inputs)[0]
    assert not torch.equal(one, other)
    module.eval()
    assert_same([module(inputs)[0]], [decelerate(module)(inputs)[0]])


@every_kind
@pytest.mark.parametrize("shape", [(5, 3, 7), (5,), (2, 5, 3, 4)])
def test_wrong_shapes_are_refused_as_by_torch(kind, shape):
    module = make(kind)
    inputs = torch.zeros(*shape, dtype=torch.float64)
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        decelerate(module)(inputs)
    with pytest.raises((RuntimeError, ValueError)) as ours:
        accelerate(module)(inputs)
    assert ours.type is theirs.type


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below = nn.ModuleDict({"lstm": nn.LSTM(4, 6, batch_first=True), "other": nn.Linear(6, 6)})
        self.above = nn.GRU(6, 6, batch_first=True)
        self.again = nn.GRU(6, 6, batch_first=True)
        self.again.weight_hh_l0 = self.above.weight_hh_l0  # tied

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.below["other"](self.below["lstm"](inputs)[0])
        return self.again(self.above(values)[0])[0]


def test_a_nested_model_keeps_its_modules_parameters_and_names():
    model = Tagger().double()
    before = (list(model.modules()), list(model.parameters()), list(model.state_dict()))
    expected = measure(model, torch.ones(2, 3, 4, dtype=torch.float64))
    accelerated = accelerate(model)
    assert accelerated is model
    after = (list(model.modules()), list(model.parameters()), list(model.state_dict()))
    assert all(one is other for one, other in zip(before[0], after[0], strict=True))
    assert all(one is other for one, other in zip(before[1], after[1], strict=True))
    assert before[2] == after[2]
    assert type(model.above) is ACCELERATED[nn.GRU]
    assert model.again.weight_hh_l0 is model.above.weight_hh_l0
    assert_same(measure(model, torch.ones(2, 3, 4, dtype=torch.float64)), expected)
    decelerate(model)
    assert type(model.above) is nn.GRU


def test_copies_and_pickles_stay_accelerated():
    model, inputs = accelerate(Tagger().double()), torch.ones(2, 3, 4, dtype=torch.float64)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other.above) is ACCELERATED[nn.GRU]
        assert_same([other(inputs)], [model(inputs)])


def test_weights_changed_in_place_are_seen():
    module, inputs = accelerate(make("gru")), torch.randn(5, 3, 4, dtype=torch.float64)
    for change in (lambda p: p.mul_(0.5), lambda p: p.data.mul_(0.5), lambda p: p.copy_(torch.ones_like(p))):
        with torch.no_grad():
            module(inputs)
            change(module.weight_hh_l0)
            got = module(inputs)
            assert_same(flat(got), flat(decelerate(module)(inputs)))
        accelerate(module)


def test_frozen_weights_get_no_gradient():
    module, inputs = accelerate(make("lstm")), torch.randn(5, 3, 4, dtype=torch.float64)
    module.weight_hh_l0.requires_grad_(False)
    module(inputs)[0].sum().backward()
    assert module.weight_hh_l0.grad is None
    assert module.weight_ih_l0.grad is not None


def test_another_precision_after_the_fact_is_taken():
    module = accelerate(make("lstm")).float()
    assert module(torch.zeros(2, 3, 4))[0].dtype == torch.float32


def test_a_subclass_with_its_own_forward_is_left_alone():
    class Own(nn.LSTM):
        def forward(self, *arguments: Any) -> str:  # type: ignore[override]
            return "own"

    module = accelerate(nn.Sequential(Own(3, 4)))
    assert module(torch.zeros(1, 1, 3)) == "own"


CELLS = {
    "rnn": (nn.RNNCell, {}),
    "relu": (nn.RNNCell, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTMCell, {}),
    "gru": (nn.GRUCell, {}),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [None, 1, 5])
def test_a_cell_gives_the_numbers_and_gradients_of_torch(cell, bias, batch):
    make_cell, options = CELLS[cell]
    theirs = make_cell(4, 6, bias=bias, **options).double()
    ours = accelerate(copy.deepcopy(theirs))
    assert type(ours) in ACCELERATED.values()
    rows = () if batch is None else (batch,)
    inputs = torch.randn(*rows, 4, dtype=torch.float64)
    state = torch.randn(2, *rows, 6, dtype=torch.float64)
    given = (state[0], state[1]) if cell == "lstm" else state[0]
    for arguments in ((inputs,), (inputs, given)):
        assert_same(measure(ours, *arguments), measure(theirs, *arguments))


@pytest.mark.parametrize("shapes", [((2, 5), (2, 6)), ((2, 4), (2, 5)), ((2, 4), (3, 6)), ((2, 2, 4), (2, 6))])
def test_a_cell_refuses_wrong_shapes_as_torch_does(shapes):
    theirs = nn.GRUCell(4, 6)
    messages = []
    for cell in (theirs, accelerate(copy.deepcopy(theirs))):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            cell(*(torch.zeros(shape) for shape in shapes))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_accelerating_twice_is_accelerating_once():
    module = accelerate(accelerate(make("lstm")))
    assert type(decelerate(module)) is nn.LSTM


def test_gradients_of_gradients_are_those_of_torch():
    module, inputs = make("gru"), torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for ours in (False, True):
        (accelerate if ours else decelerate)(module)
        (slope,) = torch.autograd.grad(module(inputs)[0].sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [inputs, module.weight_hh_l0]))
    assert_same(list(found[1]), list(found[0]))


def test_it_is_public():
    assert rnnkit.accelerate is accelerate
