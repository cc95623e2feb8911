"""What a server of Open Inference V2 says, and how tests ask one."""

import json
from collections.abc import Callable
from typing import Any

from adapters.http.suspect import HttpEndpoint
from worlds.servers.wire_server import Ask, Seen, WireServer

PATH = "/v2/models/m/infer"
TABLES = "[request]\nbatch_size = 2\n{request}\n[request.tensor]\nscale = 1\n[answer]\n{answer}\n"
ALL_SAID = 'input = "x"\ndatatype = "FP32"\nlayout = "NCHW"'


def metadata(
    shape: list[int], datatype: str = "FP32", outputs: tuple[str, ...] = ("probs",)
) -> bytes:
    document = {
        "name": "m",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": datatype, "shape": shape}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in outputs],
    }
    return json.dumps(document).encode()


def answer(outputs: list[dict[str, Any]], **more: Any) -> Callable[[Seen], bytes]:
    """Return what repeats the request's id beside the outputs."""

    def reply(seen: Seen) -> bytes:
        size = int(seen.headers.get("Inference-Header-Content-Length", len(seen.body)))
        number = json.loads(seen.body[:size])["id"]
        return json.dumps({"model_name": "m", "id": number, "outputs": outputs, **more}).encode()

    return reply


def asking_v2(ask: Ask) -> Ask:
    """Return what asks by this protocol: from tables and an answer to endpoint and server."""

    def start(
        request: str = "", answer: str = "", name: str = "open_inference_v2", **settings: Any
    ) -> tuple[HttpEndpoint, WireServer]:
        return ask(name, PATH, TABLES.format(request=request, answer=answer), **settings)

    return start
