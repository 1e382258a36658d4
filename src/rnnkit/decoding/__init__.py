"""Turn scores into sequences: every decoder works on a step function or a tensor of scores, never on a layer."""
