"""A suspect that is an ONNX file: how it is read, tried and asked."""
