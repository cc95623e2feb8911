"""Ask one suspect with many bundles: what a worker of a sweep does, wherever it runs.

Each pair is an audit like any other (`audit.asking.run.run_audit`). A file is loaded once, in one
process of its own, and asked with all bundles; nothing that goes wrong with it goes further than
its rows.
"""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from adapters.onnx.input import find_image_input
from adapters.onnx.model import OnnxModel, load_model
from adapters.onnx.opening import adapt_model, check_one_runtime
from adapters.onnx.output_choice import OutputsDisagreeError
from adapters.onnx.process.fork_client import ForkServer, can_fork
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.sandbox_check import SandboxError
from adapters.onnx.suspect import ClassNames, OnnxSuspect, OutputKindChoice
from adapters.onnx.suspect_file import PreprocessingTable, merged_options, read_suspect_file
from adapters.suspect import OtherTaskError, Suspect, SuspectError
from audit.asking.events import AuditEvent, Finished, Started
from audit.asking.run import run_audit
from audit.bundle.bundle_file import parse_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import MismatchError
from audit.exit_codes import ExitCode, code_for_error, code_for_verdict
from audit.journal.journal import Journal
from audit.journal.sweep_rows import PairStatus
from audit.journal.transfer import AuditCopy, take_audit
from audit.signing.keys import Trust
from audit.suspects.found_files import SuspectKind, split_output
from audit.suspects.opening import compare_weights, contract_options, control_images
from audit.sweep.engine import SweepEndsError
from audit.sweep.tasks import (
    PairResult,
    Parcel,
    SuspectTask,
    SweepSettings,
    TaskResult,
)

_OUR_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
"""Errors of this machine, not of the suspect: no disk, memory, descriptors or processes left."""


class Asks(Protocol):
    """One audit of a sweep: asks, and hands over what the journal holds of it."""

    def __call__(
        self, bundle: BundleContents, on_event: Callable[[AuditEvent], None]
    ) -> AuditCopy | None:
        """Audit to the end; every event is told."""
        ...


class FileAsker:
    """Asks suspect files; lives as long as its worker. Several threads may use one.

    Args:
        parcel: What every worker has.
        name: What to call this worker.

    Raises:
        AuditError: A bundle is not what its owner signed.
    """

    def __init__(self, parcel: Parcel, name: str) -> None:
        trust = Trust(keys=parcel.trusted)
        # Checked anew in every worker: bytes that travelled count no more than a file.
        contents = [parse_bundle(data, trust) for data in parcel.bundles]
        self._bundles = {one.manifest_sha256: one for one in contents}
        self._settings, self._name = parcel.settings, name
        self._server = ForkServer() if can_fork() else None
        # In memory: nothing counts before the coordinator has it on its disk (ADR 8).
        self._journal = Journal(None)
        if parcel.settings.device == "cuda":
            check_one_runtime()

    def close(self) -> None:
        """End the processes that wait for suspects."""
        if self._server is not None:
            self._server.close()
        self._journal.close()

    def ask(self, task: SuspectTask) -> TaskResult:
        """Ask one suspect with its bundles; what goes wrong is in the result."""
        cpu = time.process_time()
        bundles = [self._bundles[sha256] for sha256 in task.bundles]
        pairs: list[PairResult] = []
        # Bundles that want the same images share what was found out about the model.
        bundles.sort(key=lambda bundle: repr(_images_of(bundle)))
        loaded = _LoadedFile(task, self._settings, self._server)
        try:
            for bundle in bundles:
                pairs.append(ask_pair(bundle, self._asks(loaded)))
        finally:
            loaded.close()
        return TaskResult(
            task=task,
            pairs=tuple(pairs),
            worker=self._name,
            cpu_s=time.process_time() - cpu,
        )

    def _asks(self, loaded: "_LoadedFile") -> Asks:
        settings = self._settings

        def asks(
            bundle: BundleContents, on_event: Callable[[AuditEvent], None]
        ) -> AuditCopy | None:
            audits: list[str] = []

            def follow(event: AuditEvent) -> None:
                if isinstance(event, Started):
                    audits.append(event.audit)
                on_event(event)

            try:
                suspect = loaded.suspect_for(bundle)
                run_audit(self._journal, bundle, suspect, settings.options(bundle), on_event=follow)
            finally:
                # Also of an audit that failed: a worker that asks thousands must not keep their
                # rows.
                copies = [take_audit(self._journal, audit) for audit in audits]
            return copies[0]

        return asks


def ask_pair(bundle: BundleContents, asks: Asks) -> PairResult:
    """Run one audit of a sweep; never raises but for what ends the process."""
    started = time.monotonic()
    events: list[AuditEvent] = []

    def follow(event: AuditEvent) -> None:
        if isinstance(event, Started | Finished):
            events.append(event)

    try:
        copy = asks(bundle, follow)
    except Exception as error:
        return failed_pair(
            bundle.manifest_sha256,
            error,
            seconds=time.monotonic() - started,
            audit=next((one.audit for one in reversed(events) if isinstance(one, Started)), None),
        )
    begun = next((one for one in reversed(events) if isinstance(one, Started)), None)
    finished = events[-1]
    assert begun is not None, "the first event of an audit"
    assert isinstance(finished, Finished), "an audit that returns has finished"
    spent = finished.spending
    return PairResult(
        bundle=bundle.manifest_sha256,
        status=PairStatus.ASKED if finished.is_complete else PairStatus.STOPPED,
        reason=finished.outcome.text,
        exit_code=code_for_verdict(finished.outcome.verdict, is_complete=finished.is_complete),
        seconds=time.monotonic() - started,
        outcome=finished.outcome,
        is_complete=finished.is_complete,
        audit=begun.audit,
        copy=copy,
        cost=f"{spent.cost:f}" if spent is not None and spent.currency else None,
        currency=(spent.currency or None) if spent is not None else None,
    )


def failed_pair(
    bundle: str, error: Exception, *, seconds: float = 0.0, audit: str | None = None
) -> PairResult:
    """Return the row of a pair that has no outcome, with its reason."""
    code = code_for_error(error)
    if isinstance(error, OutputsDisagreeError):
        return PairResult(
            bundle=bundle,
            status=PairStatus.BY_OUTPUT,
            reason=f"{error}; each of them is asked as a suspect of its own",
            exit_code=ExitCode.NOT_COMPARABLE,
            seconds=seconds,
            outputs=error.names,
        )
    # What is about another task will always be, what is our trouble may be gone tomorrow: only the
    # suspect's own failures are not asked again.
    if isinstance(error, OtherTaskError | MismatchError):
        status, code = PairStatus.MISMATCHED, ExitCode.NOT_COMPARABLE
    elif code is None:
        status = PairStatus.BROKEN_OFF
    elif code is ExitCode.STOPPED or isinstance(error, SweepEndsError):
        status, code = PairStatus.STOPPED, ExitCode.STOPPED
    elif isinstance(error, SandboxError):
        status = PairStatus.BROKEN_OFF  # another machine may have what this one lacks
    elif isinstance(error.__cause__, OSError) and error.__cause__.errno in _OUR_TROUBLE:
        status = PairStatus.BROKEN_OFF
    else:
        status = PairStatus.FAILED
    unexpected = f"unexpected {type(error).__name__}: " if code is None else ""
    return PairResult(
        bundle=bundle,
        status=status,
        reason=f"{unexpected}{error}",
        exit_code=ExitCode.UNEXPECTED if code is None else code,
        seconds=seconds,
        # Only these go on where they were; the others begin anew.
        audit=audit if status is PairStatus.STOPPED else None,
    )


class _LoadedFile:
    """A model that is loaded when the first bundle needs it, and again only if it died."""

    def __init__(
        self, task: SuspectTask, settings: SweepSettings, server: ForkServer | None
    ) -> None:
        self._task, self._settings, self._server = task, settings, server
        self._model: OnnxModel | None = None
        self._refusal: Exception | None = None
        self._suspect: tuple[tuple[object, ...], Suspect] | None = None

    def close(self) -> None:
        if self._model is not None:
            self._model.close()

    def suspect_for(self, bundle: BundleContents) -> Suspect:
        """Return the model as a suspect for a bundle.

        Raises:
            SuspectError: It cannot be one.
        """
        sketch = bundle.manifest.weights
        asked_as = (_images_of(bundle), None if sketch is None else sketch.arrays_file_sha256)
        model = self._running_model()
        if self._suspect is not None and self._suspect[0] == asked_as:
            return self._suspect[1]
        task = bundle.manifest.task
        options, output, kind, allow_random, class_names, absent = _as_described(self._task)
        recipe = merged_options(options, contract_options(bundle))
        is_described = _described_file(self._task) is not None
        if not is_described and not self._settings.resize:
            _require_shape(model, bundle)
        suspect = adapt_model(
            model,
            recipe=recipe,
            image_shape=(task.height, task.width, task.channels),
            num_classes=task.num_classes,
            output=output,
            output_kind=kind,
            labels_only=self._settings.labels_only,
            allow_random=allow_random,
            controls=control_images(bundle),
            class_names=class_names,
            absent_classes=absent,
        )
        if not is_described and not self._settings.resize:
            _require_size(suspect, bundle)
        compare_weights(suspect, bundle)
        self._suspect = asked_as, suspect
        return suspect

    def _running_model(self) -> OnnxModel:
        if self._refusal is not None:
            raise self._refusal
        if self._model is not None and self._model.process.is_running:
            return self._model
        self.close()
        self._model = self._suspect = None
        folder = self._task.named_folder
        try:
            model = load_model(
                _model_path(self._task),
                device=self._settings.device,
                limits=OnnxLimits(require_sandbox=self._settings.require_sandbox),
                num_threads=self._settings.num_threads,
                server=self._server,
                named_folder=None if folder is None else Path(folder),
            )
        except SuspectError as error:
            self._refusal = error  # what one bundle's try has shown, the next one need not repeat
            raise
        self._model = model
        # The row is about the file that the coordinator hashed; this is the copy that would answer.
        if self._task.sha256 not in (None, model.copy.sha256):
            self._refusal = ChangedMeanwhileError(
                "onnx: the file changed after the sweep had looked at it"
            )
            raise self._refusal
        return model


class ChangedMeanwhileError(Exception):
    """The file is another one than the coordinator saw; the next run asks what it is by then."""


def _as_described(
    task: SuspectTask,
) -> tuple[
    PreprocessingTable, str | None, OutputKindChoice, bool, ClassNames | None, tuple[int | str, ...]
]:
    described_file = _described_file(task)
    chosen = split_output(Path(task.path))[1] if task.kind is SuspectKind.OUTPUT else None
    if described_file is None:
        return PreprocessingTable(), chosen, "auto", False, None, ()
    described = read_suspect_file(described_file)
    model = described.model
    return (
        described.preprocessing,
        chosen or model.output,
        model.output_kind,
        model.allow_random,
        model.class_names,
        model.absent_classes or (),
    )


def _model_path(task: SuspectTask) -> Path:
    described = _described_file(task)
    if described is None:
        return _file(task)
    return described.parent / read_suspect_file(described).model.file


def _described_file(task: SuspectTask) -> Path | None:
    """Return the suspect file of a task, None where it is a model alone."""
    file = _file(task)
    return file if file.suffix == ".toml" else None


def _file(task: SuspectTask) -> Path:
    path = Path(task.path)
    return split_output(path)[0] if task.kind is SuspectKind.OUTPUT else path


def _require_shape(model: OnnxModel, bundle: BundleContents) -> None:
    """Refuse a model whose file fixes other images than the bundle's."""
    task, recipe = bundle.manifest.task, find_image_input(model.description.inputs, None).recipe
    size = (task.height, task.width)
    if recipe.size not in (None, size) or recipe.channels not in (None, task.channels):
        height, width = recipe.size or ("any", "any")
        raise OtherTaskError(
            f"images: the bundle has {task.height}x{task.width}x{task.channels}, the model takes "
            f"{height}x{width}x{recipe.channels or 'any'}; --resize asks it all the same"
        )


def _require_size(suspect: OnnxSuspect, bundle: BundleContents) -> None:
    """Refuse a model that takes another size than its file says, as only trying shows."""
    task, size = bundle.manifest.task, suspect.recipe.size
    if size is not None and size != (task.height, task.width):
        raise OtherTaskError(
            f"images: the bundle has {task.height}x{task.width}, the model takes {size[0]}x"
            f"{size[1]} and no other size; --resize asks it all the same"
        )


def _images_of(bundle: BundleContents) -> tuple[object, ...]:
    task, contract = bundle.manifest.task, bundle.manifest.preprocessing
    shape = (task.height, task.width, task.channels, task.num_classes)
    return (*shape, tuple(contract.mean), tuple(contract.std), contract.color_order)
