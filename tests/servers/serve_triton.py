"""NVIDIA Triton over an ONNX classifier: ``serve_triton.py MODEL.onnx HTTP_PORT GRPC_PORT``."""

import sys
import time

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1
SESSION = onnxruntime.InferenceSession(sys.argv[1], OPTIONS, providers=["CPUExecutionProvider"])


@batch
def classify(input):
    return {"probs": SESSION.run(None, {"input": input})[0]}


if __name__ == "__main__":
    _, channels, height, width = SESSION.get_inputs()[0].shape
    (_, num_classes) = SESSION.get_outputs()[0].shape
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(sys.argv[2]),
        allow_grpc=True,
        grpc_address="127.0.0.1",
        grpc_port=int(sys.argv[3]),
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            "suspect",
            classify,
            inputs=[Tensor(name="input", dtype=np.float32, shape=(channels, height, width))],
            outputs=[Tensor(name="probs", dtype=np.float32, shape=(num_classes,))],
            config=ModelConfig(max_batch_size=16),
        )
        triton.run()
        while True:
            time.sleep(1)
