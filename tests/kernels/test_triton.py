"""What the Triton kernels refuse, and that they run where they should; parity is tested over all backends."""

import pytest
import torch

from rnnkit import LAYERS, kernels
from rnnkit.errors import ConfigError
from rnnkit.kernels import BACKENDS

pytest.importorskip("triton", reason="triton is not installed")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"projection_size": 2}, "no projection"),
        ({"hidden_mask": True}, "no mask on the recurrent input"),
        ({"zoneout": True}, "no zoneout"),
        ({"hidden_size": 33}, "up to 32 units of a head in registers, not 33"),
    ],
)
def test_what_the_kernels_lack_is_refused(calls, options, reason):
    call = calls.make("lstm", **options)
    assert reason in BACKENDS["triton"].refuses(call)
    with kernels.use("triton"), pytest.raises(ConfigError, match=reason):
        kernels.gated_scan(call)


def test_means_over_units_of_several_heads_are_refused(calls):
    call = calls.make("layer-norm-lstm", heads=2)
    assert "one head alone" in BACKENDS["triton"].refuses(call)


def test_a_gate_that_enters_the_product_is_refused(calls):
    assert "no gate that enters the product" in BACKENDS["triton"].refuses(calls.make("gru-reset-before"))


def test_they_run_on_a_gpu(calls, device, monkeypatch):
    if device != "cpu":
        pytest.skip("this is a GPU")
    call = calls.make("lstm")
    assert "slow" in BACKENDS["triton"].yields(call)  # what is interpreted runs where it is asked for alone
    monkeypatch.delenv("TRITON_INTERPRET")
    assert BACKENDS["triton"].refuses(call) == "the Triton kernels run on a GPU"


@pytest.mark.parametrize("layer", ["slstm", "sru", "indrnn", "mingru", "minlstm", "qrnn", "lru"])
def test_they_run_the_layers_that_no_library_has(layer):
    # the parity tests could pass by refusing everything; here in float32, with more than one block of rows
    made = LAYERS[layer](3, 8)
    inputs, lengths = torch.randn(17, 6, 3), torch.randint(0, 7, (17,))
    outputs = []
    for name in ("triton", "reference"):
        with kernels.use(name):
            assert {run.backend for run in kernels.explain(made, inputs, None, lengths)} == {name}
            outputs.append(made(inputs, lengths=lengths)[0])
    assert torch.allclose(*outputs, rtol=1e-5, atol=1e-6)
