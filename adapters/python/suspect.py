"""A suspect that the auditor's own Python function asks.

`open_function` starts the function of a file in a process of its own, `live_function` calls one of
the running script. Either way every call is told to an observer before and after it
(`adapters.attempts`), and is never repeated: whom the function asks, how often and at what price
is its own affair.
"""

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import Attempt, AttemptEnd, AttemptObserver, Result
from adapters.class_map import SUM_TOLERANCE, ClassMap, UnknownLabelError, class_map
from adapters.printable import printable, shortened
from adapters.python.process import FunctionProcess
from adapters.python.returned import Returned, read_returned
from adapters.suspect import (
    Capability,
    Predictions,
    SuspectConfigError,
    SuspectError,
    SuspectFailingError,
    SuspectIdentity,
    SuspectUnreachableError,
)
from adapters.tariff import SpendingLimits, Tariff

KIND = "python"
"""Of such a suspect's identity."""
CALL_LIMIT_S = 120.0
AnswerKind = Literal["labels", "probabilities", "logits"]
Function = Callable[[NDArray[np.uint8]], Any]
"""Gets pixels ``[N, H, W, C]`` and returns N labels or rows of scores."""


class _Asked(Protocol):
    """Whoever calls the function."""

    def ask(self, images: NDArray[np.uint8]) -> Returned:
        """Return its answer to images ``[N, H, W, C]``."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class PythonSuspect:
    """A function's answers in the bundle's classes; satisfies `adapters.suspect.Suspect`.

    Args:
        asked: Calls the function.
        identity: Whose code answers.
        classes: The bundle's.
        answers: What rows of scores are; ``labels`` uses their largest only.
        batch_size: Largest number of images of one call.
        tariff: What calls cost.
    """

    concurrency = 1
    requests_per_second: float | None = None
    limits = SpendingLimits()

    def __init__(
        self,
        asked: _Asked,
        identity: SuspectIdentity,
        classes: ClassMap,
        *,
        answers: AnswerKind,
        batch_size: int,
        tariff: Tariff,
    ) -> None:
        self.identity, self.batch_size, self.tariff = identity, batch_size, tariff
        self.capability = Capability.LABELS if answers == "labels" else Capability.PROBABILITIES
        self._asked, self._classes, self._answers = asked, classes, answers
        self._observer: AttemptObserver | None = None
        self._is_stopped = False

    def watch(
        self,
        observer: AttemptObserver | None,
        *,
        has_answered: bool = False,
        others: NDArray[np.uint8] | None = None,
    ) -> None:
        """Tell this observer of every call from now on; the rest is for services."""
        self._observer, self._is_stopped = observer, False

    def stop(self) -> None:
        """Make no further call; one that is under way ends with its answer."""
        self._is_stopped = True

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch with one call.

        Args:
            images: Pixels ``[N, H, W, C]``, N at most `batch_size`.

        Raises:
            SuspectError: The function raised, or returned something else than it should.
        """
        if images.ndim != 4 or not 1 <= len(images) <= self.batch_size:
            raise ValueError(
                f"images: expected [1..{self.batch_size}, H, W, C], got {images.shape}"
            )
        if self._is_stopped:
            raise SuspectError("function: expected to be asked, but the audit was stopped")
        observer, handle = self._observer, 0
        if observer is not None:
            digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
            attempt = Attempt(number=1, num_images=len(images), request_sha256=digest)
            handle = observer.sending(attempt)
        started, result = time.monotonic(), Result.FAILED
        answer_sha256: str | None = None
        try:
            with nullcontext() if observer is None else observer.aside():
                returned = self._asked.ask(images)
            answer_sha256 = _digest(labels=returned.labels, scores=returned.scores)
            predictions = self._predictions(returned)
            result = Result.ANSWERED
            return predictions
        finally:
            if observer is not None:
                latency_s = time.monotonic() - started
                observer.ended(
                    handle,
                    AttemptEnd(
                        result=result, latency_s=latency_s, status=None, answer_sha256=answer_sha256
                    ),
                )

    def close(self) -> None:
        """End the function's process, where it has one."""
        self._asked.close()

    def _predictions(self, returned: Returned) -> Predictions:
        if returned.labels is not None:
            if self._answers != "labels":
                raise SuspectError(
                    f"function: expected rows of {self._answers}, got labels; leave "
                    "--output-kind out"
                )
            labels = [self._class_of(label) for label in returned.labels]
            return Predictions(labels=np.array(labels, dtype=np.int64))
        assert returned.scores is not None, "one of the two"
        num_classes, width = self._classes.num_classes, len(returned.scores[0])
        if width != num_classes:
            raise SuspectError(
                f"function: expected rows of {num_classes} scores, one for each of the bundle's "
                f"classes, got {width}"
            )
        rows = None
        if self._answers != "labels":
            kind = self._answers
            if kind == "probabilities":
                _require_probabilities(returned.scores)
            told = [self._classes.log_probabilities(row, kind) for row in returned.scores]
            rows = np.stack(told)  # N times [K] -> [N, K]
        return Predictions(labels=np.argmax(returned.scores, axis=1), log_probabilities=rows)

    def _class_of(self, label: str | int | None) -> int:
        try:
            return self._classes.class_of(label)
        except UnknownLabelError:
            names = shortened(", ".join(self._classes.names), 200)
            told = printable(shortened(repr(label), 200))
            raise SuspectError(
                f"function: expected a class from 0 to {self._classes.num_classes - 1}, one of the "
                f"bundle's names ({names}), or None for no class, got {told}"
            ) from None


class _Live:
    """A function of the running script."""

    def __init__(self, function: Function, title: str) -> None:
        self._function, self._title = function, title
        self._has_answered = False

    def ask(self, images: NDArray[np.uint8]) -> Returned:
        """Call it."""
        try:
            value = self._function(images.copy())
        except Exception as error:
            kind = SuspectFailingError if self._has_answered else SuspectUnreachableError
            raise kind(
                f"{self._title}: expected an answer from the function, got "
                f"{type(error).__name__}: {error}"
            ) from error
        returned = read_returned(value, len(images))
        self._has_answered = True
        return returned

    def close(self) -> None:
        """Do nothing: the script's function stays its own."""


def open_function(
    spec: str,
    bundle_classes: Sequence[str],
    *,
    answers: AnswerKind = "labels",
    batch_size: int = 1,
    limit_s: float = CALL_LIMIT_S,
    tariff: Tariff = Tariff(),  # noqa: B008 (frozen)
) -> PythonSuspect:
    """Open a function of a Python file, in a process of its own.

    Args:
        spec: ``FILE.py:FUNCTION``.
        bundle_classes: The bundle's class names in its order.
        answers: What rows of scores are; ``labels`` uses their largest only.
        batch_size: Largest number of images of one call.
        limit_s: Seconds that one call may take.
        tariff: What calls cost.

    Raises:
        SuspectConfigError: No such file or function, or it cannot be imported.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not file or not name.isidentifier():
        raise SuspectConfigError(f"--python: expected FILE.py:FUNCTION, got {printable(spec)!r}")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SuspectConfigError(
            f"--python: expected a Python file, got {printable(file)!r} ({error.strerror})"
        ) from None
    if path.suffix != ".py":
        raise SuspectConfigError(
            f"--python: expected a file that ends in .py, got {printable(file)!r}"
        )
    process = FunctionProcess(path.resolve(), name, limit_s)
    return PythonSuspect(
        process,
        _identity(path.name, name, digest, answers),
        class_map(None, bundle_classes),
        answers=answers,
        batch_size=batch_size,
        tariff=tariff,
    )


def live_function(
    function: Function,
    bundle_classes: Sequence[str],
    *,
    answers: AnswerKind = "labels",
    batch_size: int = 1,
    tariff: Tariff = Tariff(),  # noqa: B008 (frozen)
) -> PythonSuspect:
    """Take a function of the running script, which is called in this process without a limit.

    Args:
        function: As in `open_function`, like the rest.
        bundle_classes: Likewise.
        answers: Likewise.
        batch_size: Likewise.
        tariff: Likewise.

    Raises:
        SuspectConfigError: Nobody knows its source, which the record names by its digest.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    described: Any = function if hasattr(function, "__code__") else type(function)
    try:
        file = inspect.getsourcefile(described)
        if file is not None and Path(file).is_file():
            source, title = Path(file).read_bytes(), Path(file).name
        else:  # a notebook's
            source, title = inspect.getsource(described).encode(), "<script>"
    except (OSError, TypeError):
        raise SuspectConfigError(
            f"function: expected one whose source is known, got {name}; write it into a file"
        ) from None
    return PythonSuspect(
        _Live(function, f"{title}:{name}"),
        _identity(title, name, hashlib.sha256(source).hexdigest(), answers),
        class_map(None, bundle_classes),
        answers=answers,
        batch_size=batch_size,
        tariff=tariff,
    )


def _require_probabilities(rows: Sequence[Sequence[float]]) -> None:
    for row in rows:
        if min(row) < 0 or abs(sum(row) - 1) > SUM_TOLERANCE:
            raise SuspectError(
                "function: expected rows of probabilities that add up to 1, got a row with a sum "
                f"of {sum(row):.4g} and a smallest of {min(row):.4g}; --output-kind says what they "
                "are"
            )


def _identity(file: str, name: str, digest: str, answers: AnswerKind) -> SuspectIdentity:
    return SuspectIdentity(
        kind=KIND,
        name=printable(f"{file}:{name}"),
        digest=_digest(file_sha256=digest, function=name, answers=answers),
        details={
            "answers_through": "the auditor's own code",
            "function": printable(name),
            "file_sha256": digest,
            "rows_are": answers,
        },
    )


def _digest(**told: Any) -> str:
    """Return the SHA-256 of what was told."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
