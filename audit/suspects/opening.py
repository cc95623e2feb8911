"""A suspect opened for a bundle: with its classes, its image size and its preprocessing."""

from collections.abc import Iterable
from pathlib import Path

from adapters.endpoint.grants import typed_grants
from adapters.http.opening import open_endpoint
from adapters.narrowed import LabelsOnly
from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.model import Device
from adapters.onnx.opening import open_onnx
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import OnnxSuspect, OutputKindChoice
from adapters.onnx.suspect_file import open_suspect_file
from adapters.python.suspect import (
    CALL_LIMIT_S,
    AnswerKind,
    Function,
    PythonSuspect,
    live_function,
)
from adapters.python.suspect import open_function as open_python
from adapters.suspect import Suspect
from adapters.tariff import Tariff
from audit.bundle.manifest import BundleContents
from audit.suspects.allow_list import load_grants


def control_images(bundle: BundleContents) -> ControlImages:
    """Return the images on which a file's outputs are compared."""
    arrays = bundle.arrays
    return ControlImages(
        images=arrays.controls,
        labels=arrays.control_labels,
        class_names=bundle.manifest.task.class_names,
    )


def contract_options(bundle: BundleContents) -> RecipeOptions:
    """Return how a bundle's images become the source's input, as suspects take it."""
    contract = bundle.manifest.preprocessing
    return RecipeOptions(
        mean=contract.mean,
        std=contract.std,
        color_order=None if contract.color_order == "RGB" else contract.color_order,
    )


def open_file(
    bundle: BundleContents,
    path: str | Path,
    *,
    device: Device = "auto",
    labels_only: bool = False,
    output: str | None = None,
    output_kind: OutputKindChoice = "auto",
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    server: ForkServer | None = None,
) -> Suspect:
    """Open an ONNX file as a suspect for a bundle, with the bundle's preprocessing.

    Args:
        bundle: From `open_bundle`.
        path: The ONNX file.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is some.
        labels_only: Use labels only, whatever the file tells.
        output: Name of the output with the classes; by default found by trying.
        output_kind: What that output holds, such as ``logits``; by default found by trying.
        limits: Memory, time and sandbox of the process that the file runs in.
        server: Process to fork that one from, in sweeps.

    Raises:
        OutputsDisagreeError: Several of its outputs hold classes, and not the same ones.
        SuspectError: The file is no usable classifier of the bundle's task.
    """
    task = bundle.manifest.task
    suspect = open_onnx(
        Path(path),
        recipe=contract_options(bundle),
        image_shape=(task.height, task.width, task.channels),
        num_classes=task.num_classes,
        device=device,
        output=output,
        output_kind=output_kind,
        labels_only=labels_only,
        controls=control_images(bundle),
        limits=limits,
        server=server,
    )
    return _compared(suspect, bundle)


def open_described(
    bundle: BundleContents,
    path: str | Path,
    *,
    device: Device = "auto",
    labels_only: bool = False,
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    server: ForkServer | None = None,
) -> Suspect:
    """Open the ONNX model of a suspect file, with the bundle's preprocessing where it names none.

    Args:
        bundle: From `open_bundle`.
        path: The TOML file that ``kinprint probe`` writes (docs/suspects.md).
        device: As for `open_file`, like the rest.
        labels_only: Likewise.
        limits: Likewise.
        server: Likewise.

    Raises:
        SuspectConfigError: The suspect file is wrong, or its model is another one.
        SuspectError: The model is no usable classifier of the bundle's task.
    """
    task = bundle.manifest.task
    suspect = open_suspect_file(
        Path(path),
        contract=contract_options(bundle),
        image_shape=(task.height, task.width, task.channels),
        num_classes=task.num_classes,
        device=device,
        labels_only=labels_only,
        controls=control_images(bundle),
        limits=limits,
        server=server,
    )
    return _compared(suspect, bundle)


def _compared(suspect: OnnxSuspect, bundle: BundleContents) -> OnnxSuspect:
    """Return a file after its weights were compared; it is closed where that fails."""
    try:
        compare_weights(suspect, bundle)
    except BaseException:
        suspect.close()
        raise
    return suspect


def compare_weights(suspect: OnnxSuspect, bundle: BundleContents) -> None:
    """Compare a file's weights with the bundle's sketch, if it has one.

    Raises:
        SuspectError: The file's process did not survive that.
    """
    if bundle.weights is not None:
        suspect.compare_weights(bundle.weights.sketch)


def open_remote(
    bundle: BundleContents,
    path: str | Path,
    *,
    labels_only: bool = False,
    ca_bundle: str | Path | None = None,
    allow_plain_http: bool = False,
    rate: float | None = None,
    allow: Iterable[str] = (),
    looks_up: bool = False,
) -> Suspect:
    """Open an endpoint file as a suspect for a bundle; nothing is sent yet.

    The file may use of this machine what the user has allowed for its host: in ``allowed.json``
    beside the trusted keys, or here.

    Args:
        bundle: From `open_bundle`.
        path: The endpoint file (docs/endpoints.md).
        labels_only: Use labels only, whatever the endpoint tells.
        ca_bundle: PEM file of authorities, instead of the one that the file names.
        allow_plain_http: Let credentials travel to another machine without TLS.
        rate: Most requests a second, instead of what the file says.
        allow: What the file may use this time, too, as ``--allow`` takes it: a list such as
            ``["env:VENDOR_KEY@api.vendor.example"]``.
        looks_up: Look up now where the host leads, not only with the first request.

    Raises:
        NotGrantedError: The file wants to use more than that; nothing of it was read.
        SuspectError: The file does not describe a usable endpoint.
        AuditError: The list of what the user has allowed is damaged.
    """
    suspect = open_endpoint(
        Path(path),
        bundle_classes=bundle.manifest.task.class_names,
        ca_bundle=None if ca_bundle is None else Path(ca_bundle),
        allow_plain_http=allow_plain_http,
        requests_per_second=rate,
        grants=load_grants() | typed_grants(allow),
    )
    if looks_up:
        try:
            suspect.look_up()
        except BaseException:
            suspect.close()
            raise
    return LabelsOnly(suspect) if labels_only else suspect


def open_function(
    bundle: BundleContents,
    function: str | Function,
    *,
    answers: AnswerKind = "labels",
    batch_size: int = 1,
    limit_s: float = CALL_LIMIT_S,
    tariff: Tariff = Tariff(),  # noqa: B008 (frozen)
) -> PythonSuspect:
    """Open a function of your own as a suspect for a bundle; it asks whom you want to audit.

    The function gets pixels ``uint8 [N, H, W, C]`` as an endpoint gets them: in the size of the
    bundle, RGB (or one channel), 0-255, nothing subtracted. It returns a label for each image (a
    number, a name of the bundle or None), or a row of scores for each.

    Args:
        bundle: From `open_bundle`.
        function: ``FILE.py:FUNCTION``, which is called in a process of its own, or a function of
            the running script, which is called here and without a time limit.
        answers: What rows of scores are; ``labels`` uses their largest only.
        batch_size: Most images of one call; all of them are lost if it fails.
        limit_s: Seconds that one call may take.
        tariff: What calls and images cost.

    Raises:
        SuspectConfigError: There is no such function, or its file cannot be imported.
    """
    names = bundle.manifest.task.class_names
    if isinstance(function, str):
        return open_python(
            function,
            names,
            answers=answers,
            batch_size=batch_size,
            limit_s=limit_s,
            tariff=tariff,
        )
    return live_function(function, names, answers=answers, batch_size=batch_size, tariff=tariff)
