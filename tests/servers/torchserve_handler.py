"""TorchServe's handler over an ONNX classifier that lies in the archive as ``model.onnx``."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

SESSION = None


def handle(data, context):
    global SESSION
    if SESSION is None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.path.join(context.system_properties["model_dir"], "model.onnx")
        SESSION = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if data is None:
        return None
    answers = []
    for row in data:
        image = Image.open(io.BytesIO(bytes(row.get("data") or row.get("body")))).convert("RGB")
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
        probabilities = SESSION.run(None, {"input": pixels})[0][0]
        best = probabilities.argsort()[::-1][:3]
        answers.append({f"class_{index}": float(probabilities[index]) for index in best})
    return answers
