"""Models as owners have them: read from weights, code or ONNX, and written as ONNX."""
