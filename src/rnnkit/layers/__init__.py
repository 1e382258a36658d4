"""Recurrent layers: (batch, time, input_size) and a state in, (batch, time, output_size) and a state out."""

from rnnkit.layers.attention import ATTENTIONS, Attention, Memory
from rnnkit.layers.base import Layer
from rnnkit.layers.classic import GRU, LSTM, RNN, ReluRNN
from rnnkit.layers.convolution import CausalConvolution, ConvolutionNetwork
from rnnkit.layers.ctc import guided_ctc_loss
from rnnkit.layers.diagonal import DiagonalLayer
from rnnkit.layers.dropout import DroppedEmbedding, LockedDropout
from rnnkit.layers.feedforward import FeedForward
from rnnkit.layers.gated import GatedLayer
from rnnkit.layers.independent import LRU, QRNN, SRU, IndRNN
from rnnkit.layers.minimal import MinGRU, MinLSTM
from rnnkit.layers.options import OPTIONS
from rnnkit.layers.pooling import POOLINGS, Pooling
from rnnkit.layers.softmax import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs, linear_cross_entropy
from rnnkit.layers.stack import Stack
from rnnkit.layers.subsampling import Subsampling
from rnnkit.layers.transducer import Joiner, transducer_loss
from rnnkit.layers.transformer import Transformer
from rnnkit.layers.variants import CoupledLSTM, LayerNormGRU, LayerNormLSTM, PeepholeLSTM, ResetBeforeGRU
from rnnkit.layers.xlstm import MLSTM, SLSTM

__all__ = [
    "ATTENTIONS",
    "GRU",
    "LAYERS",
    "LSTM",
    "OPTIONS",
    "POOLINGS",
    "RNN",
    "AdaptiveEmbedding",
    "AdaptiveSoftmax",
    "Attention",
    "CausalConvolution",
    "CoupledLSTM",
    "DiagonalLayer",
    "DroppedEmbedding",
    "GatedLayer",
    "Layer",
    "Joiner",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LockedDropout",
    "Memory",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "Pooling",
    "ReluRNN",
    "ResetBeforeGRU",
    "Stack",
    "Subsampling",
    "default_cutoffs",
    "guided_ctc_loss",
    "linear_cross_entropy",
    "transducer_loss",
    "ConvolutionNetwork",
    "FeedForward",
    "IndRNN",
    "SRU",
    "QRNN",
    "LRU",
    "MLSTM",
    "SLSTM",
    "Transformer",
]

LAYERS: dict[str, type[Layer]] = {
    "rnn": RNN,
    "relu-rnn": ReluRNN,
    "lstm": LSTM,
    "gru": GRU,
    "gru-reset-before": ResetBeforeGRU,
    "peephole-lstm": PeepholeLSTM,
    "coupled-lstm": CoupledLSTM,
    "layer-norm-lstm": LayerNormLSTM,
    "layer-norm-gru": LayerNormGRU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "indrnn": IndRNN,
    "sru": SRU,
    "qrnn": QRNN,
    "lru": LRU,
    "slstm": SLSTM,
    "mlstm": MLSTM,
    "convolution": CausalConvolution,
    "cnn": ConvolutionNetwork,
    "transformer": Transformer,
    "feedforward": FeedForward,
}
