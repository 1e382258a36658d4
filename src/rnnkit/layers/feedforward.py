"""A layer without a memory: what a network can do that sees the present step alone."""

from torch import Tensor, nn
from torch.nn.functional import gelu

from rnnkit.kernels import State
from rnnkit.layers.base import Layer


class FeedForward(Layer):
    """y = gelu(W x + b), step for step; its state has no parts.

    Example:
        >>> import torch
        >>> outputs, state = FeedForward(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, state
        (torch.Size([2, 7, 5]), ())
    """

    family = "feed-forward"
    state_names = ()
    begins_anew = True

    def state_sizes(self) -> tuple[int, ...]:
        """Return no size."""
        return ()

    def define(self) -> None:
        """Make the weights."""
        self.linear = nn.Linear(self.input_size, self.hidden_size)

    def reset_parameters(self) -> None:
        """Draw the weights as torch's Linear does."""
        self.linear.reset_parameters()

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Compute all steps at once."""
        return gelu(self.linear(inputs)), state
