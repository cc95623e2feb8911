"""Open Inference Protocol V2: every byte, and what is learned first."""

import gzip
import hashlib
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.open_inference import ALL_SAID, PATH, answer, asking_v2, metadata
from worlds.servers.wire_server import IMAGES, Ask, Seen, asking, opened, pixels

from adapters.suspect import (
    Capability,
    SuspectConfigError,
    SuspectError,
    SuspectUnreachableError,
)

PIXELS_0 = [0.0, 153.0, 51.0, 204.0, 102.0, 255.0]
"""The first image, flat, axes C, H, W."""
PIXELS_1 = [255.0, 102.0, 204.0, 51.0, 153.0, 0.0]
ONE_ID = hashlib.sha256(struct.pack("<6f", *PIXELS_0)).hexdigest()[:32]
TWO_ID = hashlib.sha256(struct.pack("<12f", *PIXELS_0, *PIXELS_1)).hexdigest()[:32]


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    """Return a function from tables and an answer to endpoint and server."""
    with asking(tmp_path, httpserver) as start:
        yield asking_v2(start)


def scores(values: Any, shape: list[int], name: str = "probs") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP32", "data": values}


def test_what_the_file_leaves_out_is_asked_of_the_server_once(ask: Ask) -> None:
    reply = answer([scores([0.1, 0.8, 0.1], [1, 3])], model_version="7")
    endpoint, server = ask(described=metadata([-1, 3, 1, 2]), reply=reply)
    assert not server.seen  # nothing is sent before the first image
    first, second = endpoint.predict(IMAGES[:1]), endpoint.predict(IMAGES[:1])
    assert first.labels.tolist() == second.labels.tolist() == [1]
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/v2/models/m"),
        ("POST", PATH),
        ("POST", PATH),
    ]
    assert server.seen[1].body == (
        f'{{"id":"{ONE_ID}","inputs":[{{"name":"x","shape":[1,3,1,2],"datatype":"FP32",'
        f'"data":{PIXELS_0}}}],"outputs":[{{"name":"probs"}}]}}'.replace(" ", "").encode()
    )
    assert server.seen[1].headers["Content-Type"] == "application/json"
    assert (first.metadata["model_name"], first.metadata["model_version"]) == ("m", "7")


def test_threads_that_start_together_ask_for_the_metadata_once(ask: Ask) -> None:
    reply = answer([scores([0.1, 0.8, 0.1], [1, 3])])
    endpoint, server = ask(described=metadata([-1, 3, 1, 2]), reply=reply)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: endpoint.predict(IMAGES[:1]).labels.tolist(), range(8)))
    assert found == [[1]] * 8
    assert [seen.method for seen in server.seen].count("GET") == 1


def test_a_file_that_says_everything_asks_for_no_metadata(ask: Ask) -> None:
    reply = answer([scores([[0.1, 0.8, 0.1], [1.0, 0.0, 0.0]], [2, 3])])
    endpoint, server = ask(ALL_SAID, 'output = "probs"', reply=reply)
    assert endpoint.predict(IMAGES).labels.tolist() == [1, 0]
    (seen,) = server.seen
    assert (
        seen.body
        == (
            f'{{"id":"{TWO_ID}","inputs":[{{"name":"x","shape":[2,3,1,2],"datatype":"FP32",'
            f'"data":{PIXELS_0 + PIXELS_1}}}],"outputs":[{{"name":"probs"}}]}}'
        )
        .replace(" ", "")
        .encode()
    )


def test_the_binary_tail_holds_the_exact_numbers(ask: Ask) -> None:
    row = struct.pack("<3f", 0.25, 0.25, 0.5)

    def reply(seen: Seen) -> bytes:
        header = answer([{**scores(None, [1, 3]), "parameters": {"binary_data_size": len(row)}}])(
            seen
        )
        server.headers["Inference-Header-Content-Length"] = str(len(header))
        return header + row

    endpoint, server = ask(f"{ALL_SAID}\nbinary = true", 'kind = "probabilities"', reply=reply)
    predictions = endpoint.predict(IMAGES[:1])
    (seen,) = server.seen
    header = (
        f'{{"id":"{ONE_ID}","inputs":[{{"name":"x","shape":[1,3,1,2],"datatype":"FP32",'
        '"parameters":{"binary_data_size":24}}],"parameters":{"binary_data_output":true}}'
    ).encode()
    assert seen.headers["Content-Type"] == "application/octet-stream"
    assert seen.headers["Inference-Header-Content-Length"] == str(len(header))
    assert seen.body == header + struct.pack("<6f", *PIXELS_0)
    assert endpoint.capability is Capability.PROBABILITIES
    expected = np.log([[0.25, 0.25, 0.5]])
    assert predictions.log_probabilities == pytest.approx(expected)


def test_a_named_output_is_asked_for_as_bytes_by_itself(ask: Ask) -> None:
    reply = answer([scores([0.0, 0.0, 1.0], [1, 3])])
    endpoint, server = ask(f"{ALL_SAID}\nbinary = true", 'output = "probs"', reply=reply)
    endpoint.predict(IMAGES[:1])
    seen = server.seen[0]
    header = json.loads(seen.body[: int(seen.headers["Inference-Header-Content-Length"])])
    assert header["outputs"] == [{"name": "probs", "parameters": {"binary_data": True}}]


def test_an_answer_may_be_json_although_bytes_were_asked_for(ask: Ask) -> None:
    reply = answer([scores([0.0, 0.0, 1.0], [1, 3])])
    endpoint, _ = ask(f"{ALL_SAID}\nbinary = true", reply=reply)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [2]


def test_a_packed_answer_is_unpacked_before_its_length_counts(ask: Ask) -> None:
    row = struct.pack("<3f", 0.0, 0.0, 1.0)

    def reply(seen: Seen) -> bytes:
        header = answer([{**scores(None, [1, 3]), "parameters": {"binary_data_size": 12}}])(seen)
        server.headers["Inference-Header-Content-Length"] = str(len(header))
        server.headers["Content-Encoding"] = "gzip"
        return gzip.compress(header + row)

    endpoint, server = ask(f"{ALL_SAID}\nbinary = true", reply=reply)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [2]


@pytest.mark.parametrize(
    ("binary", "tail"),
    [(True, True), (False, False)],
)
def test_bytes_tensors_carry_image_files(ask: Ask, binary: bool, tail: bool) -> None:
    reply = answer([{"name": "label", "shape": [1, 1], "datatype": "BYTES", "data": ["dog"]}])
    request = f"binary = {str(binary).lower()}"
    described = metadata([-1, 1], "BYTES", ("label",))
    endpoint, server = ask(request, described=described, reply=reply)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [1]
    seen = server.seen[-1]
    if tail:
        size = int(seen.headers["Inference-Header-Content-Length"])
        header, data = json.loads(seen.body[:size]), seen.body[size:]
        assert header["inputs"][0]["parameters"] == {"binary_data_size": len(data)}
        (length,) = struct.unpack("<I", data[:4])
        assert length == len(data) - 4
        assert np.array_equal(pixels(data[4:]), IMAGES[0])
    else:
        (tensor,) = json.loads(seen.body)["inputs"]
        assert tensor["parameters"] == {"content_type": "base64"}
        assert len(tensor["data"]) == 1
    shape = json.loads(seen.body[: int(seen.headers.get("Inference-Header-Content-Length", 10**6))])
    assert shape["inputs"][0]["shape"] == [1, 1]


@pytest.mark.parametrize(
    ("datatype", "code", "values"),
    [
        ("FP16", "e", PIXELS_0),
        ("FP64", "d", PIXELS_0),
        ("UINT8", "B", [0, 153, 51, 204, 102, 255]),
        ("INT8", "b", [-128, 25, -77, 76, -26, 127]),
        ("INT32", "i", [0, 153, 51, 204, 102, 255]),
    ],
)
def test_numbers_go_as_the_type_of_the_input(
    ask: Ask, datatype: str, code: str, values: list[float]
) -> None:
    reply = answer([scores([1.0, 0.0, 0.0], [1, 3])])
    described = metadata([-1, 3, 1, 2], datatype)
    endpoint, server = ask("binary = true", described=described, reply=reply)
    endpoint.predict(IMAGES[:1])
    seen = server.seen[-1]
    size = int(seen.headers["Inference-Header-Content-Length"])
    assert json.loads(seen.body[:size])["inputs"][0]["datatype"] == datatype
    assert seen.body[size:] == struct.pack(f"<6{code}", *values)


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ([-1, 1, 2, 3], "", [1, 1, 2, 3]),
        ([-1, 3, -1, -1], "", [1, 3, 1, 2]),
        ([3, -1, -1], "", [3, 1, 2]),
        ([-1, 1, 1, 2], "", [1, 1, 1, 2]),  # one channel: luma
        ([-1, -1, -1, -1], 'layout = "NHWC"', [1, 1, 2, 3]),
        ([-1, 6], 'layout = "N(CHW)"', [1, 6]),
    ],
)
def test_the_axes_come_from_the_shape_or_from_the_file(
    ask: Ask, shape: list[int], layout: str, expected: list[int]
) -> None:
    reply = answer([scores([1.0, 0.0, 0.0], [1, 3])])
    endpoint, server = ask(layout, described=metadata(shape), reply=reply)
    endpoint.predict(IMAGES[:1])
    assert json.loads(server.seen[-1].body)["inputs"][0]["shape"] == expected


@pytest.mark.parametrize(
    ("outputs", "num", "labels"),
    [
        ([{"name": "l", "shape": [2], "datatype": "INT64", "data": [2, 0]}], 2, [2, 0]),
        ([{"name": "l", "shape": [2, 1], "datatype": "INT64", "data": [[2], [0]]}], 2, [2, 0]),
        ([{"name": "l", "shape": [1], "datatype": "INT32", "data": [1]}], 1, [1]),
        ([{"name": "l", "shape": [2], "datatype": "BYTES", "data": ["dog", "cat"]}], 2, [1, 0]),
        ([scores([0.1, 0.2, 0.7], [3])], 1, [2]),
        ([scores([[[0.1, 0.2, 0.7]]], [1, 3])], 1, [2]),
    ],
    ids=["vector", "column", "one", "texts", "no batch axis", "nested"],
)
def test_labels_and_scores_are_read_in_every_shape(
    ask: Ask, outputs: list[dict[str, Any]], num: int, labels: list[int]
) -> None:
    parameters = {"parameters": {"content_type": "np"}, "model_version": None}
    endpoint, _ = ask(ALL_SAID, reply=answer(outputs, **parameters))
    predictions = endpoint.predict(IMAGES[:num])
    assert predictions.labels.tolist() == labels
    assert predictions.log_probabilities is None
    assert "model_version" not in predictions.metadata


@pytest.mark.parametrize(
    ("described", "request_table", "answer_table", "message"),
    [
        (b'{"name": "m", "inputs": [], "outputs": []}', "", "", "the server describes no inputs"),
        (b'{"name": "m"}', 'input = "x"', "", "the server describes no inputs"),
        (metadata([-1, 3, 1, 2], "BOOL"), "", "", "request.datatype: expected one of .* 'BOOL'"),
        (metadata([-1, 3, 1, 2], "FP16"), "", "", "request.binary: expected true, since the model"),
        (metadata([-1, -1, -1, -1]), "", "", r"request.layout: expected axes, such as \"NCHW\""),
        (metadata([-1, 3, 224, 224]), "", "", r"image.size: .* as the server says, got \[1, 2\]"),
        (metadata([-1, 3, 1, 2]), 'input = "y"', "", "request.input: expected one of x, got y"),
        (metadata([-1, 3, 1, 2], outputs=("a", "b")), "", "", "one of a, b, got nothing"),
        (metadata([-1, 3, 1, 2]), "", 'output = "b"', "answer.output: .* one of probs, got b"),
    ],
)
def test_metadata_that_leaves_something_open_names_the_field(
    ask: Ask, described: bytes, request_table: str, answer_table: str, message: str
) -> None:
    endpoint, server = ask(request_table, answer_table, described=described)
    with pytest.raises(SuspectConfigError, match=message):
        endpoint.predict(IMAGES[:1])
    assert [seen.method for seen in server.seen] == ["GET"]


def test_a_model_without_a_batch_axis_gets_one_image_at_a_time(ask: Ask) -> None:
    endpoint, server = ask(described=metadata([3, 1, 2]))
    with pytest.raises(SuspectConfigError, match=r"request.batch_size: expected 1, .*, got 2"):
        endpoint.predict(IMAGES)
    assert [seen.method for seen in server.seen] == ["GET"]


def test_a_model_that_is_not_there_is_found_out_before_the_first_image(ask: Ask) -> None:
    endpoint, server = ask()
    with pytest.raises(SuspectUnreachableError, match="status 404"):
        endpoint.predict(IMAGES[:1])
    assert [seen.method for seen in server.seen] == ["GET"]


PROBS = '"outputs": [{"name": "p", "shape": [1, 3], "datatype": "FP32", "data": [1, 0, 0]}]'


@pytest.mark.parametrize("number", ['"id": "its own", ', '"id": null, ', '"id": "", ', ""])
def test_servers_number_their_answers_as_they_like(ask: Ask, number: str) -> None:
    endpoint, _ = ask(ALL_SAID, body=f"{{{number}{PROBS}}}".encode())
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [0]


def test_the_answer_to_another_of_our_requests_is_none(ask: Ask) -> None:
    first: list[str] = []

    def reply(seen: Seen) -> bytes:
        first.append(json.loads(seen.body)["id"])
        return f'{{"id": "{first[0]}", {PROBS}}}'.encode()

    endpoint, _ = ask(ALL_SAID, reply=reply)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [0]
    with pytest.raises(SuspectError, match="got the answer to another request"):
        endpoint.predict(IMAGES[1:])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": "unexpected shape"}', "expected outputs, got .*unexpected shape"),
        ('{"id": "a", "outputs": []}', "answer: expected outputs"),
        ('{"id": "a", "outputs": [{"shape": [1]}]}', "expected named outputs"),
        ('{"id": "a", "outputs": [{"name": "p", "data": [1]}]}', "expected a shape"),
        ('{"id": "a", "outputs": [{"name": "p", "shape": [1, 3]}]}', "expected data"),
        (
            '{"id": "a", "outputs": [{"name": "p", "shape": [1, 3], "data": [1, 2]}]}',
            r"expected 3 values in the output p of shape \[1, 3\], got 2",
        ),
        (
            '{"id": "a", "outputs": [{"name": "p", "shape": [99999, 9999], "data": []}]}',
            "expected scores in the output p",
        ),
        (
            '{"id": "a", "outputs": [{"name": "p", "shape": [1, 0], "data": []}]}',
            "expected values in the output, got none",
        ),
        (
            '{"id": "a", "outputs": [{"name": "p", "shape": [1, 3], "data": [1, 0, 0]}, '
            '{"name": "q", "shape": [1], "data": [1]}]}',
            "answer.output: expected one of p, q, got nothing",
        ),
    ],
)
def test_an_answer_that_is_not_of_the_protocol_is_refused(
    ask: Ask, body: str, message: str
) -> None:
    endpoint, _ = ask(ALL_SAID, body=body.encode())
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[:1])


def test_fewer_rows_than_images_are_refused(ask: Ask) -> None:
    endpoint, _ = ask(ALL_SAID, reply=answer([scores([1.0, 0.0, 0.0], [1, 3])]))
    with pytest.raises(SuspectError, match="expected rows for 2 images, got 1"):
        endpoint.predict(IMAGES)


@pytest.mark.parametrize(
    ("tail", "parameters", "message"),
    [
        (b"\0" * 8, {"binary_data_size": 12}, "a binary tail that is cut short"),
        (b"\0" * 11, {"binary_data_size": 11}, "expected whole FP32 values"),
        (b"\0" * 12, {"binary_data_size": "12"}, "expected a number as binary_data_size"),
    ],
)
def test_a_broken_tail_is_refused(
    ask: Ask, tail: bytes, parameters: dict[str, Any], message: str
) -> None:
    def reply(seen: Seen) -> bytes:
        header = answer([{**scores(None, [1, 3]), "parameters": parameters}])(seen)
        server.headers["Inference-Header-Content-Length"] = str(len(header))
        return header + tail

    endpoint, server = ask(f"{ALL_SAID}\nbinary = true", reply=reply)
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[:1])


@pytest.mark.parametrize(
    ("request_table", "message"),
    [
        ('datatype = "FP16"', "request.binary: expected true with FP16"),
        ('datatype = "BOOL"', "line 6: request.datatype: expected"),
        ('layout = "CHW"', "request.batch_size: expected 1 with layout CHW, got more"),
        ('inptu = "x"', "line 6: request.inptu: expected no such field; did you mean input"),
    ],
)
def test_a_wrong_field_is_named(ask: Ask, request_table: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask(request_table)


def test_axes_and_type_stand_outside_the_table_tensor(tmp_path: Path) -> None:
    text = f'format = "open_inference_v2"\nurl = "http://127.0.0.1:1{PATH}"\n[request.tensor]\n'
    for field, instead in (('layout = "NHWC"', "layout"), ('dtype = "uint8"', "datatype")):
        with pytest.raises(
            SuspectConfigError, match=f"expected none here, write request.{instead}"
        ):
            opened(tmp_path, f"{text}{field}\n")


def test_an_address_without_infer_says_what_to_add(tmp_path: Path) -> None:
    text = 'format = "open_inference_v2"\nurl = "http://127.0.0.1:1/v2/models/m"\n'
    with pytest.raises(SuspectConfigError, match=r"line 3: url: expected .*; add /infer"):
        opened(tmp_path, text)
