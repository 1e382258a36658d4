"""rnnkit: recurrent networks, from your own file to a live stream."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit import kernels as kernels
    from rnnkit.acceleration import accelerate as accelerate
    from rnnkit.acceleration import decelerate as decelerate
    from rnnkit.checkpoint import load as load
    from rnnkit.comparing import compare as compare
    from rnnkit.errors import CheckpointError as CheckpointError
    from rnnkit.errors import ConfigError as ConfigError
    from rnnkit.errors import DataError as DataError
    from rnnkit.errors import RnnkitError as RnnkitError
    from rnnkit.errors import RunError as RunError
    from rnnkit.errors import ShapeError as ShapeError
    from rnnkit.errors import StreamError as StreamError
    from rnnkit.layers import GRU as GRU
    from rnnkit.layers import LAYERS as LAYERS
    from rnnkit.layers import LRU as LRU
    from rnnkit.layers import LSTM as LSTM
    from rnnkit.layers import MLSTM as MLSTM
    from rnnkit.layers import QRNN as QRNN
    from rnnkit.layers import RNN as RNN
    from rnnkit.layers import SLSTM as SLSTM
    from rnnkit.layers import SRU as SRU
    from rnnkit.layers import CausalConvolution as CausalConvolution
    from rnnkit.layers import ConvolutionNetwork as ConvolutionNetwork
    from rnnkit.layers import CoupledLSTM as CoupledLSTM
    from rnnkit.layers import DiagonalLayer as DiagonalLayer
    from rnnkit.layers import FeedForward as FeedForward
    from rnnkit.layers import GatedLayer as GatedLayer
    from rnnkit.layers import IndRNN as IndRNN
    from rnnkit.layers import LayerNormGRU as LayerNormGRU
    from rnnkit.layers import LayerNormLSTM as LayerNormLSTM
    from rnnkit.layers import MinGRU as MinGRU
    from rnnkit.layers import MinLSTM as MinLSTM
    from rnnkit.layers import PeepholeLSTM as PeepholeLSTM
    from rnnkit.layers import ReluRNN as ReluRNN
    from rnnkit.layers import ResetBeforeGRU as ResetBeforeGRU
    from rnnkit.layers import Stack as Stack
    from rnnkit.layers import Transformer as Transformer
    from rnnkit.serving.client import AsyncClient as AsyncClient
    from rnnkit.serving.client import Client as Client
    from rnnkit.session import Session as Session
    from rnnkit.streaming import StreamPool as StreamPool
    from rnnkit.tasks import TASKS as TASKS
    from rnnkit.training import resume as resume
    from rnnkit.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "rnnkit.acceleration": ("accelerate", "decelerate"),
    "rnnkit.checkpoint": ("load",),
    "rnnkit.comparing": ("compare",),
    "rnnkit.errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "RnnkitError",
        "RunError",
        "ShapeError",
        "StreamError",
    ),
    "rnnkit.layers": (
        "CausalConvolution",
        "ConvolutionNetwork",
        "CoupledLSTM",
        "DiagonalLayer",
        "FeedForward",
        "GRU",
        "GatedLayer",
        "IndRNN",
        "LAYERS",
        "LRU",
        "LSTM",
        "LayerNormGRU",
        "LayerNormLSTM",
        "MLSTM",
        "MinGRU",
        "MinLSTM",
        "PeepholeLSTM",
        "QRNN",
        "RNN",
        "ReluRNN",
        "ResetBeforeGRU",
        "SLSTM",
        "SRU",
        "Stack",
        "Transformer",
    ),
    "rnnkit.serving.client": ("AsyncClient", "Client"),
    "rnnkit.session": ("Session",),
    "rnnkit.streaming": ("StreamPool",),
    "rnnkit.tasks": ("TASKS",),
    "rnnkit.training": ("resume", "train"),
}
_find, _ = lazily(__name__, _HOMES)

__all__ = ["__version__", "kernels", *sorted(sum(_HOMES.values(), ()))]  # noqa: PLE0604 - names resolved lazily below


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import rnnkit` alone is quick."""
    return import_module("rnnkit.kernels") if name == "kernels" else _find(name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
