"""Recurrent layers: (batch, time, input_size) and a state in, (batch, time, output_size) and a state out."""

from rnnkit.layers.base import DiagonalLayer, GatedLayer, Layer
from rnnkit.layers.classic import GRU, LSTM, RNN, ReluRNN
from rnnkit.layers.dropout import DroppedEmbedding, LockedDropout
from rnnkit.layers.options import OPTIONS
from rnnkit.layers.softmax import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs, linear_cross_entropy
from rnnkit.layers.stack import Stack

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "OPTIONS",
    "RNN",
    "AdaptiveEmbedding",
    "AdaptiveSoftmax",
    "DiagonalLayer",
    "DroppedEmbedding",
    "GatedLayer",
    "Layer",
    "LockedDropout",
    "ReluRNN",
    "Stack",
    "default_cutoffs",
    "linear_cross_entropy",
]

LAYERS: dict[str, type[Layer]] = {"rnn": RNN, "relu-rnn": ReluRNN, "lstm": LSTM, "gru": GRU}
