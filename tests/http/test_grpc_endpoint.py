import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from open_inference.grpc.protocol import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)
from open_inference.grpc.service import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from worlds.in_process import Done, run
from worlds.servers.private_authority import make_authority

import kinprint
from adapters.endpoint.wire_format import AskAgainError
from adapters.http.answer_reader import MAX_ANSWER_BYTES
from adapters.suspect import SuspectError
from adapters.wire.open_inference_grpc import Description

DATA = Path(__file__).parents[1] / "data"
BUNDLE, KEY = DATA / "audited.kinprint", DATA / "small.pub"
SECRET = "sk-over-grpc-4711"


class Model(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers as the source of the golden bundle does, with numbers of classes."""

    def __init__(self) -> None:
        arrays = kinprint.open_bundle(BUNDLE, trust=KEY).arrays
        images = [*arrays.controls, *arrays.queries]
        labels = [*arrays.control_labels, *arrays.source_query_labels]
        self.seen = {one.tobytes(): int(k) for one, k in zip(images, labels, strict=True)}
        self.requests: list[ModelInferRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.before: Callable[[int, Any], None] = lambda number, context: None
        self.is_typed = False
        self.version = "7"
        self.lock = threading.Lock()

    def ModelMetadata(self, request: Any, context: Any) -> ModelMetadataResponse:  # noqa: N802
        if request.name != "pets":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
        told = ModelMetadataResponse(name="pets")
        told.inputs.add(name="pixels", datatype="UINT8", shape=[-1, 8, 8, 3])
        told.outputs.add(name="scores", datatype="FP32", shape=[-1, 4])
        return told

    def ModelInfer(self, request: ModelInferRequest, context: Any) -> Any:  # noqa: N802
        with self.lock:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            number = len(self.requests)
        self.before(number, context)
        shape = list(request.inputs[0].shape)
        images = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
        rows = np.eye(4, dtype="<f4")[[self.seen[one.tobytes()] for one in images]]
        told = ModelInferResponse(model_name="pets", model_version=self.version, id=request.id)
        output = told.outputs.add(name="scores", datatype="FP32", shape=rows.shape)
        if self.is_typed:
            output.contents.fp32_contents.extend(rows.ravel().tolist())
        else:
            told.raw_output_contents.append(rows.tobytes())
        return told


class Served:
    """The model at a port of its own."""

    def __init__(self, folder: Path, credentials: Any = None) -> None:
        self.model, self.folder = Model(), folder
        self.server = grpc.server(ThreadPoolExecutor(4))
        add_GRPCInferenceServiceServicer_to_server(self.model, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def file(self, more: str = "", top: str = "", scheme: str = "http") -> Path:
        path = self.folder / "grpc.toml"
        path.write_text(
            'format = "open_inference_grpc"\n'
            f'url = "{scheme}://127.0.0.1:{self.port}"\nmodel = "pets"\nretries = 2\n{top}\n'
            f"{more}\n"
        )
        return path

    def audit(self, *options: object, path: Path | None = None) -> Done:
        return run(
            "audit",
            BUNDLE,
            *("--trust", KEY, "--endpoint", path or self.file(), *options),
            XDG_DATA_HOME=str(self.folder / "data"),
            GRPC_KEY=SECRET,
        )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.server.stop(None).wait()


@pytest.mark.parametrize("is_typed", [False, True])
def test_an_audit_over_grpc_asks_the_server_what_the_file_leaves_open(
    served: Served, is_typed: bool
) -> None:
    served.model.is_typed = is_typed
    path = served.file('[request]\nbatch_size = 4\n[answer]\nkind = "probabilities"')
    done = served.audit(path=path)
    assert done.returncode == 10, done.stderr
    first = served.model.requests[0]
    assert (first.model_name, first.inputs[0].name) == ("pets", "pixels")
    assert list(first.inputs[0].shape) == [4, 8, 8, 3]
    assert [one.name for one in first.outputs] == ["scores"]


def test_what_is_asked_later_is_asked_again_after_the_pause_that_the_server_wants(
    served: Served,
) -> None:
    def busy(number: int, context: Any) -> None:
        if number == 2:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "20"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota")
        if number == 4:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "0"),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    served.model.before = busy
    done = served.audit(path=served.file(top="concurrency = 1"))
    assert done.returncode == 10, done.stderr
    ids = [one.id for one in served.model.requests]
    assert ids[1] == ids[2]
    assert ids[3] == ids[4]


def test_a_server_that_forbids_another_attempt_ends_an_audit_that_resumes(served: Served) -> None:
    def closes(number: int, context: Any) -> None:
        if number == 6:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "come back tomorrow")

    served.model.before = closes
    path = served.file(top="concurrency = 1")
    stopped = served.audit("--ask-all", path=path)
    assert stopped.returncode == 12
    assert "RESOURCE_EXHAUSTED: come back tomorrow" in stopped.stderr
    done = served.audit("--ask-all", "--resume", path=path)
    assert done.returncode == 10, done.stderr
    # 32 questions, and the one that was refused.
    assert len(served.model.requests) == 33


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, 14, "auth: expected to be let in, got status 401"),
        (grpc.StatusCode.PERMISSION_DENIED, 14, "auth: expected to be let in, got status 403"),
        (grpc.StatusCode.INVALID_ARGUMENT, 2, "request: expected an answer, got status 400"),
        (grpc.StatusCode.UNIMPLEMENTED, 14, "url: expected an answer, got status 404"),
    ],
)
def test_a_refusal_names_its_grpc_status(served: Served, code: Any, status: int, told: str) -> None:
    served.model.before = lambda number, context: context.abort(code, "\x1b[31mno")
    done = served.audit()
    assert done.returncode == status
    words = " ".join(done.stderr.split())
    assert told in words
    assert f"({code.name}: " in words
    assert "\x1b" not in done.stderr


def test_a_key_travels_as_metadata_once_it_is_allowed_and_is_shown_nowhere(
    served: Served, tmp_path: Path
) -> None:
    def echo(number: int, context: Any) -> None:
        key = dict(context.invocation_metadata())["authorization"]
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"what is {key}?")

    path = served.file('[auth]\nscheme = "Bearer"\nenv = "GRPC_KEY"')
    refused = served.audit(path=path)
    assert refused.returncode == 2
    assert "--allow" in refused.stderr
    assert not served.model.requests
    allow = ("--allow", f"env:GRPC_KEY@http://127.0.0.1:{served.port}")
    served.model.before = echo
    told = served.audit(*allow, path=path)
    assert served.model.metadata[0]["authorization"] == f"Bearer {SECRET}"
    assert "***" in told.stderr
    assert SECRET not in told.stderr
    for file in (tmp_path / "data").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_nobody_at_the_port_and_no_such_model_are_told(served: Served, tmp_path: Path) -> None:
    path = served.file()
    path.write_text(path.read_text().replace('"pets"', '"birds"'))
    done = served.audit(path=path)
    assert done.returncode == 14
    assert "NOT_FOUND: no model birds" in " ".join(done.stderr.split())
    path = served.file(top="timeout_s = 5")
    path.write_text(path.read_text().replace("retries = 2", "retries = 0"))
    served.server.stop(None).wait()
    done = served.audit(path=path)
    assert done.returncode == 14
    assert "no connection" in done.stderr


def test_an_answer_beyond_the_limit_is_not_read(served: Served) -> None:
    served.model.version = "7" * MAX_ANSWER_BYTES
    done = served.audit(path=served.file(top="concurrency = 1"))
    assert done.returncode == 14
    assert f"an answer of at most {MAX_ANSWER_BYTES} bytes" in " ".join(done.stderr.split())
    assert len(served.model.requests) == 1


def test_a_call_without_an_answer_ends_at_its_deadline(served: Served) -> None:
    done_waiting = threading.Event()
    served.model.before = lambda number, context: (done_waiting.wait(), None)[1]
    path = served.file(top="timeout_s = 0.3")
    path.write_text(path.read_text().replace("retries = 2", "retries = 0"))
    done = served.audit(path=path)
    done_waiting.set()
    assert done.returncode == 14
    assert "none within 0.3 s" in done.stderr


def test_tls_is_verified_against_the_authority_that_the_file_names(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    authority.server("models.example")
    (path,) = (one for one in tmp_path.glob("*.pem") if one != authority.root_path)
    pem = path.read_bytes()  # certificate and key
    credentials = grpc.ssl_server_credentials([(pem, pem)])
    served = Served(tmp_path, credentials)
    done = served.audit("--ca-bundle", authority.root_path, path=served.file(scheme="https"))
    unknown = served.audit(path=served.file(scheme="https"))
    served.server.stop(None).wait()
    assert done.returncode == 10, done.stderr
    assert unknown.returncode == 14
    assert "a certificate that can be verified" in unknown.stderr


@pytest.mark.parametrize(
    ("top", "more", "told"),
    [
        ("", '[auth]\nquery = "key"\nenv = "GRPC_KEY"', "which becomes gRPC metadata"),
        ("", "[request]\nbinary = false", "elements are always bytes"),
    ],
)
def test_what_grpc_cannot_carry_is_refused(served: Served, top: str, more: str, told: str) -> None:
    done = served.audit(path=served.file(more, top))
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_spoiled_messages_are_read_or_refused() -> None:
    path = {"url": "http://127.0.0.1:1", "format": "open_inference_grpc", "model": "pets"}
    wire_format = Description.model_validate(path).wire_format(4)
    told = ModelInferResponse(model_name="pets", id="1")
    told.outputs.add(name="scores", datatype="FP32", shape=[1, 4])
    told.raw_output_contents.append(np.eye(4, dtype="<f4")[2].tobytes())
    right, rng = told.SerializeToString(), random.Random(3)
    assert wire_format.decode(right, {}, 1).labels == (2,)
    num_refused = 0
    for _ in range(400):
        body = bytearray(right[: rng.randrange(1, len(right) + 1)])
        for _ in range(rng.randrange(3)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            wire_format.decode(bytes(body), {}, 1)
        except (SuspectError, AskAgainError):
            num_refused += 1
    assert num_refused > 200


def test_outputs_that_do_not_fit_their_contents_are_refused() -> None:
    path = {"url": "http://127.0.0.1:1", "format": "open_inference_grpc", "model": "pets"}
    wire_format = Description.model_validate(path).wire_format(4)
    told = ModelInferResponse()
    with pytest.raises(SuspectError, match="expected outputs, got none"):
        wire_format.decode(told.SerializeToString(), {}, 1)
    output = told.outputs.add(name="scores", datatype="FP32", shape=[1, 4])
    with pytest.raises(SuspectError, match="expected 4 values"):
        wire_format.decode(told.SerializeToString(), {}, 1)
    told.raw_output_contents.extend([b"", b""])
    with pytest.raises(SuspectError, match="raw contents of 1 outputs, got 2"):
        wire_format.decode(told.SerializeToString(), {}, 1)
    del told.raw_output_contents[:]
    output.datatype, output.shape[:] = "BYTES", [1]
    output.contents.bytes_contents.append(b"cat")
    assert wire_format.decode(told.SerializeToString(), {}, 1).labels == ("cat",)
