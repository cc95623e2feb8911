"""Kinprint adapters: how a suspect is asked (ONNX files, HTTP endpoints). No torch, no scoring."""
