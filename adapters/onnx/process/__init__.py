"""The confined child process that runs an ONNX file."""
