"""A BentoML service over an ONNX classifier; ``MODEL_PATH`` names the file.

``bentoml serve serve_bentoml:Classifier`` loads it. One request runs at a time; more are answered
with its 429.
"""

import os

import bentoml
import numpy as np
import onnxruntime
from PIL.Image import Image


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 1})
class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL_PATH"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def classify(self, image: Image) -> dict:
        pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
        (probabilities,) = self.session.run(None, {"input": pixels})
        best = int(probabilities[0].argmax())
        return {"label": best, "score": float(probabilities[0, best])}
