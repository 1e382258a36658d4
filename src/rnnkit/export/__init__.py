"""Models that leave the house: ONNX with the state as inputs and outputs, plain C."""
