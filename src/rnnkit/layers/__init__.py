"""Recurrent layers: (batch, time, input_size) and a state in, (batch, time, output_size) and a state out."""

from rnnkit.layers.attention import ATTENTIONS, Attention, Memory
from rnnkit.layers.base import DiagonalLayer, GatedLayer, Layer
from rnnkit.layers.classic import GRU, LSTM, RNN, ReluRNN
from rnnkit.layers.convolution import CausalConvolution
from rnnkit.layers.ctc import guided_ctc_loss
from rnnkit.layers.dropout import DroppedEmbedding, LockedDropout
from rnnkit.layers.minimal import MinGRU, MinLSTM
from rnnkit.layers.options import OPTIONS
from rnnkit.layers.pooling import POOLINGS, Pooling
from rnnkit.layers.softmax import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs, linear_cross_entropy
from rnnkit.layers.stack import Stack
from rnnkit.layers.subsampling import Subsampling
from rnnkit.layers.transducer import Joiner, transducer_loss
from rnnkit.layers.variants import CoupledLSTM, LayerNormGRU, LayerNormLSTM, PeepholeLSTM, ResetBeforeGRU

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
    "convolution": CausalConvolution,
}
