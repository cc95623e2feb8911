"""KServe's V1 and V2 protocols over an ONNX classifier: ``serve_kserve.py MODEL.onnx PORT``.

`kserve.ModelServer` listens on every interface; here its REST server gets a socket on loopback.
"""

import socket
import sys

import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer


class Classifier(Model):
    def __init__(self, path: str) -> None:
        super().__init__("suspect")
        self.path = path
        self.session = None

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.path, options, providers=["CPUExecutionProvider"]
        )
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, InferRequest):
            images = payload.inputs[0].as_numpy().astype(np.float32)
            (probabilities,) = self.session.run(None, {"input": images})
            output = InferOutput(name="probs", shape=list(probabilities.shape), datatype="FP32")
            output.set_data_from_numpy(probabilities, binary_data=False)
            return InferResponse(
                response_id=payload.id, model_name=self.name, infer_outputs=[output]
            )
        images = np.asarray(payload["instances"], dtype=np.float32)
        (probabilities,) = self.session.run(None, {"input": images})
        return {"predictions": probabilities.tolist()}


if __name__ == "__main__":
    model = Classifier(sys.argv[1])
    model.load()
    repository = ModelRepository()
    repository.update(model)
    listening = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    server = RESTServer(
        "kserve.model_server:app",
        DataPlane(repository),
        ModelRepositoryExtension(repository),
        int(sys.argv[2]),
    )
    server.run(sockets=[listening])
