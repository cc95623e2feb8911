"""What the two sides of a suspect's process tell each other: one JSON object a line.

Frozen values that both sides build; the parent reads every reply as a stranger's (a file may have
taken over the process) and checks it against these types. Pixels and answers do not travel here,
they lie in the shared memory of `adapters.onnx.process.shared_memory`.

The child speaks first, as long as it is nobody's but ours (`Ready`); from then on each request has
one reply.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from adapters.onnx.process.sandbox import Confinement
from adapters.preprocessing import InputRecipe

MAX_LINE_BYTES = 4 << 20
"""Longest line that either side reads, bytes."""
OF_METADATA = "\n\t"
"""Characters between names and numbers in a file's metadata, which are no harm to a terminal."""

FailureKind = Literal["not_onnx", "refused", "unsupported", "memory", "run"]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The process has shut itself in, and has not read a byte of the file."""

    confinement: Confinement


@dataclass(frozen=True, kw_only=True)
class TensorDescription:
    """An input or output of the graph as the file declares it."""

    name: str
    dtype: str
    """ONNX element type in lower case (``float``, ``float16``, ``uint8``, ``int64`` ...)."""
    shape: tuple[int | str | None, ...] | None
    """Size, symbol or nothing per axis; None where the file gives no shape."""
    operator: str = ""
    """Operator that makes an output's values, looked up through reshapes and casts."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says about itself."""

    inputs: tuple[TensorDescription, ...]
    """Inputs that have to be fed (initializers are not among them)."""
    outputs: tuple[TensorDescription, ...]
    opset: int
    """Version of the default operator set."""
    ir_version: int
    producer: str
    operators: dict[str, int]
    """Number of nodes per operator, subgraphs and functions included."""
    num_parameters: int
    """Values in initializers and constants."""
    metadata: dict[str, str]
    """The file's ``metadata_props``, long values cut."""
    external_files: tuple[str, ...]
    """Locations of external data, relative to the file's folder."""
    random_operators: tuple[str, ...]
    """Operators that may answer differently each time."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A session is ready."""

    providers: tuple[str, ...]
    """Execution providers that the session really has."""
    runtime: str
    """Version of onnxruntime."""


@dataclass(frozen=True, kw_only=True)
class ArrayDescription:
    """One output's values in the shared memory: float64, C order, one after the other."""

    name: str
    dtype: str
    """Type before the conversion to float64; ``text`` or ``map`` for what is no tensor of
    numbers."""
    shape: tuple[int, ...]
    """First axis is N."""
    names: tuple[str, ...] = ()
    """Of ``text``: what the values are indices of. Of ``map``: the label of each column, which is
    NaN where an image has no entry."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Outputs for one batch."""

    arrays: tuple[ArrayDescription, ...]
    left_out: tuple[str, ...] = ()
    """Outputs without a row for each image, or too large for the shared memory."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How similar the file's weights are to those that a sketch was made of."""

    layers: tuple[tuple[int, int, bool], ...]
    """For each layer of the sketch: the file's layer or -1, the similarity in 1/10000, and whether
    it took another order of the filters."""
    num_layers: int
    """Layers of the file that were read."""
    num_hidden: int
    """Layers of the file whose weights are computed when it runs, or are no finite numbers."""
    num_left_out: int
    """Layers of the file beyond what is looked at."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The request cannot be answered; the process lives on unless it says so by ending."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, kw_only=True)
class DescribeRequest:
    """Parse the file."""

    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """Make a session of the file."""

    device: Literal["auto", "cpu", "cuda"]
    num_threads: int
    gpu_memory_bytes: int
    memory_bytes: int | None
    """Address space now that the size of all files is known, bytes; None where it is free."""
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Classify the images in the shared memory."""

    shape: tuple[int, int, int, int]
    """``[N, H, W, C]`` of the uint8 pixels."""
    input_name: str
    recipe: InputRecipe
    outputs: tuple[str, ...]
    """Names of the wanted outputs; empty for all."""
    batch: int
    """Images per run of the session."""
    fixed_batch: int | None
    """Batch that the file insists on; shorter ones are filled up by repeating the last image."""
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """Compare the file's weights with the sketch in the shared memory."""

    seed: int
    heads: tuple[tuple[int, ...], ...]
    """Fields of each `adapters.weights.packed_sketch.LayerHead`, in their order."""
    has_ancestor: bool
    """Whether 16 bits a number of the source's, then of the ancestor's, lie there, and not 8."""
    timeout_s: float


Request = DescribeRequest | LoadRequest | RunRequest | CompareRequest
Reply = Ready | Description | Loaded | Answers | Compared | Failure


def to_line(message: Request | Reply) -> bytes:
    """Return the message as one line of JSON with its type's name."""
    fields = {"type": type(message).__name__, **vars(message)}
    return json.dumps(fields, default=vars).encode() + b"\n"


def request_from_line(line: bytes) -> Request:
    """Read a request; the parent wrote it, so only its form is looked at."""
    fields: dict[str, Any] = json.loads(line)
    kind = fields.pop("type")
    if kind == "DescribeRequest":
        return DescribeRequest(**fields)
    if kind == "LoadRequest":
        return LoadRequest(**fields)
    if kind == "CompareRequest":
        return CompareRequest(**fields)
    recipe = fields.pop("recipe")
    for name in ("size", "mean", "std"):
        if recipe[name] is not None:
            recipe[name] = tuple(recipe[name])
    return RunRequest(recipe=InputRecipe(**recipe), **fields)
