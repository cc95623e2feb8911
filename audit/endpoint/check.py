"""Whether an endpoint file is right: its control images, what they cost, and what harms them.

Only control images are asked, never a trigger or a query. The first ones are asked as they are; a
few of them once more as JPEG and enlarged, to see what the vendor's side stands.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import Attempt, AttemptEnd, Result
from adapters.endpoint.wire_format import WireRequest
from adapters.http.answer_meaning import UnclearAnswers
from adapters.http.suspect import HttpEndpoint
from adapters.http.transport import RawAnswer
from adapters.narrowed import Relabelled, reordered
from adapters.suspect import Capability, Predictions, Suspect, SuspectConfigError, SuspectError
from adapters.tariff import SpendingLimits, Tariff, money
from audit.answer import Answer
from audit.asking.class_order import ClassOrder, confusion, order_of
from audit.asking.cost import Estimate, estimate
from audit.asking.plan import Plan, QuestionGroup, make_plan, scores_to_ask
from audit.bundle.manifest import BundleContents, min_control_accuracy
from audit.endpoint.altered_images import Alteration, alterations_of
from audit.endpoint.notes import endpoint_notes
from audit.errors import AuditError
from audit.verdict.control_confusion import control_confusion
from audit.verdict.p_values import clopper_pearson

NUM_ALTERED = 8
"""Control images that are asked once more for each alteration."""
_PASSING = (None, 408, 425, 429, 502, 504)
"""Statuses that say nothing about an image; None is no answer at all. 503 is what some servers say
when a model fails."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and the answer to it."""

    request: WireRequest
    raw: RawAnswer
    num_images: int


@dataclass(frozen=True, kw_only=True)
class EndpointCheck:
    """What a check found."""

    num_images: int
    num_correct: int
    num_refused: int
    interval: tuple[float, float]
    """Exact 95 % interval of the accuracy."""
    source_accuracy: float
    min_accuracy: float
    """Below this an audit would say "not comparable"."""
    likely_causes: tuple[str, ...]
    """What to look at where the accuracy is too low."""
    class_order: ClassOrder | None
    """Where it was to be found, and could be; all that is right is right in this order."""
    class_names: dict[str, str]
    """The bundle's class by the vendor's label, in another order than the endpoint file's."""
    num_requests: int
    """That the control images took, failed ones included."""
    latency_median_s: float
    latency_p95_s: float
    capability: Capability
    advice: str | None
    """What the answers tell beyond what the endpoint file uses."""
    unclear: tuple[UnclearAnswers, ...]
    """Answers in words that could not be understood; they count as refused."""
    alterations: tuple[Alteration, ...]
    notes: tuple[str, ...]
    exchange: Exchange
    """The first one."""
    metadata: dict[str, str]
    """What the server said about itself with the last answer."""
    audit: Estimate
    """What the whole audit takes."""

    @property
    def accuracy(self) -> float:
        """Return the share of the control images that were right; refusals count as wrong."""
        return self.num_correct / self.num_images

    @property
    def is_comparable(self) -> bool:
        """Whether an audit would go on after these control images."""
        return self.accuracy >= self.min_accuracy


@dataclass(kw_only=True)
class _Watcher:
    """Keeps the latencies of answers, and exchanges as they happen."""

    latencies_s: list[float] = field(default_factory=list)
    num_requests: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    num_images: int = 0
    """Of the batch that is being asked."""
    gives_up: bool = False
    """Whether an error of the server is an answer: it may come from what the image is."""
    last_status: int | None = None
    limits: SpendingLimits
    tariff: Tariff
    num_images_sent: int = 0
    on_first: Callable[[Exchange], None] | None = None

    def aside(self) -> AbstractContextManager[object]:
        return nullcontext()  # requests follow one another here: nobody else wants anything

    def sending(self, attempt: Attempt) -> int:
        if self.gives_up and attempt.number > 1 and self.last_status not in _PASSING:
            raise SuspectConfigError(f"request: expected an answer, got status {self.last_status}")
        images = self.num_images_sent + attempt.num_images
        _keep_within(self.limits, self.tariff, self.num_requests + 1, images)
        self.num_images_sent = images
        self.num_requests += 1
        return self.num_requests

    def ended(self, handle: int, end: AttemptEnd) -> None:
        self.last_status = end.status
        if end.result is Result.ANSWERED:
            self.latencies_s.append(end.latency_s)

    def show(self, request: WireRequest, raw: RawAnswer) -> None:
        self.exchanges.append(Exchange(request=request, raw=raw, num_images=self.num_images))
        if len(self.exchanges) == 1 and self.on_first is not None:
            self.on_first(self.exchanges[0])


def check_plan(bundle: BundleContents, endpoint: HttpEndpoint, num: int) -> Estimate:
    """Say what a check takes, before anything is sent.

    Args:
        bundle: Whose control images are asked.
        endpoint: Whom to ask.
        num: Control images.

    Raises:
        AuditError: It takes more than the endpoint file allows.
    """
    num = min(num, len(bundle.arrays.controls))
    altered = min(num, NUM_ALTERED)
    groups = [("control", num)]
    groups += [(name, altered) for name in alterations_of(endpoint.description)]
    plan = Plan(
        scores=(),
        groups=tuple(
            QuestionGroup(kind=kind, num_questions=count, images=lambda: bundle.arrays.controls)
            for kind, count in groups
        ),
    )
    found = estimate(plan, endpoint.batch_size, endpoint)
    _keep_within(endpoint.limits, endpoint.tariff, found.num_requests, found.num_questions)
    return found


def _keep_within(limits: SpendingLimits, tariff: Tariff, num_requests: int, num: int) -> None:
    """Refuse more than the endpoint file allows one audit, and so a check."""
    cost = tariff.cost(num_requests, num)
    if limits.max_requests is not None and num_requests > limits.max_requests:
        raise AuditError(
            f"max_requests: expected enough for {num_requests} requests, got "
            f"{limits.max_requests}; ask fewer images with --num"
        )
    if limits.max_cost is not None and cost > limits.max_cost:
        raise AuditError(
            f"max_cost: expected enough for {money(cost, tariff.currency)}, got "
            f"{money(limits.max_cost, tariff.currency)}; ask fewer images with --num"
        )


def check_endpoint(
    bundle: BundleContents,
    endpoint: HttpEndpoint,
    num: int,
    on_first: Callable[[Exchange], None] | None = None,
    *,
    infer_classes: bool = False,
) -> EndpointCheck:
    """Ask control images and say how the endpoint did.

    Args:
        bundle: Whose control images are asked.
        endpoint: Whom to ask; one request at a time, so that latencies mean something.
        num: Control images, spread over all of them.
        on_first: Called with the first request and its answer, whether it can be used or not.
        infer_classes: Find the order of the endpoint's classes in the same answers.

    Raises:
        SuspectError: It did not answer.
        AuditError: Retries would take more than the endpoint file allows.
    """
    controls, truth = bundle.arrays.controls, bundle.arrays.control_labels
    spread = np.linspace(0, len(controls) - 1, min(num, len(controls)))
    indices = np.unique(spread.astype(np.int64))
    watcher = _Watcher(on_first=on_first, limits=endpoint.limits, tariff=endpoint.tariff)
    endpoint.watch(watcher)
    endpoint.show(watcher.show)
    predictions = _asked(endpoint, controls[indices], watcher)
    order, notes = None, list(endpoint_notes(bundle, endpoint.description))
    suspect: Suspect = endpoint
    if infer_classes:
        try:
            order = _order(bundle, truth[indices], predictions)
            suspect = Relabelled(endpoint, order.order)
            predictions = [reordered(each, order.order) for each in predictions]
        except AuditError as error:
            notes.append(str(error))
    labels = np.concatenate([each.labels for each in predictions])
    unclear = endpoint.unclear  # alterations are asked on purpose to see what they break
    latencies_s, num_requests = list(watcher.latencies_s), watcher.num_requests
    exchanges = list(watcher.exchanges)
    correct = labels == truth[indices]
    answers = {
        f"control/{index}": Answer(label=int(label), log_probabilities=None)
        for index, label in zip(indices, labels, strict=True)
    }
    few = indices[: min(len(indices), NUM_ALTERED)]
    rows = _probabilities(predictions)
    alterations = tuple(
        _altered(
            suspect,
            name,
            alter(controls[few]),
            labels[: len(few)],
            truth[few],
            None if rows is None else rows[: len(few)],
            watcher,
        )
        for name, alter in alterations_of(endpoint.description).items()
    )
    hits = int(correct.sum())
    plan = make_plan(bundle, scores_to_ask(bundle, endpoint), endpoint.capability)
    floor = min_control_accuracy(bundle)
    is_low = hits / len(indices) < floor
    return EndpointCheck(
        num_images=len(indices),
        num_correct=hits,
        num_refused=int((labels < 0).sum()),
        interval=clopper_pearson(hits, len(indices)),
        source_accuracy=bundle.manifest.source.control_accuracy,
        min_accuracy=floor,
        likely_causes=control_confusion(bundle, answers).likely_causes if is_low else (),
        class_order=order,
        class_names={} if order is None else _class_names(bundle, endpoint, order, exchanges),
        num_requests=num_requests,
        latency_median_s=float(np.median(latencies_s)),
        latency_p95_s=float(np.percentile(latencies_s, 95, method="inverted_cdf")),
        capability=endpoint.capability,
        advice=_advice(endpoint, exchanges),
        unclear=unclear,
        alterations=alterations,
        notes=tuple(notes),
        exchange=exchanges[0],
        metadata=predictions[-1].metadata,
        audit=estimate(
            plan, endpoint.batch_size, endpoint, in_steps=bundle.manifest.steps is not None
        ),
    )


def _asked(suspect: Suspect, images: NDArray[np.uint8], watcher: _Watcher) -> list[Predictions]:
    answers = []
    for start in range(0, len(images), suspect.batch_size):
        batch = images[start : start + suspect.batch_size]
        watcher.num_images = len(batch)
        answers.append(suspect.predict(batch))
    return answers


def _order(
    bundle: BundleContents, truth: NDArray[np.int64], predictions: list[Predictions]
) -> ClassOrder:
    names = bundle.manifest.task.class_names
    given = np.concatenate([each.labels for each in predictions])
    counts = confusion(truth, given, len(names))
    return order_of(counts, names, accuracy_as_is=float((truth == given).mean()))


def _class_names(
    bundle: BundleContents, endpoint: HttpEndpoint, found: ClassOrder, exchanges: list[Exchange]
) -> dict[str, str]:
    """Return what would make the order right in the endpoint file; nothing if it is."""
    if found.is_identity:
        return {}
    answered = next(each for each in exchanges if each.raw.status < 300)
    classes = endpoint.labels_in_order(found.order, answered.raw, answered.num_images)
    return {label: bundle.manifest.task.class_names[index] for label, index in classes.items()}


def _altered(
    suspect: Suspect,
    name: str,
    images: NDArray[np.uint8],
    before: NDArray[np.int64],
    truth: NDArray[np.int64],
    rows_before: NDArray[np.float64] | None,
    watcher: _Watcher,
) -> Alteration:
    """Ask altered images and compare with what was answered to the same ones before."""
    watcher.gives_up = True
    try:
        predictions = _asked(suspect, images, watcher)
    except SuspectError as error:  # the rest of the check stands all the same
        return Alteration(
            name=name,
            num_images=len(images),
            num_changed=0,
            num_correct=0,
            largest_shift=None,
            refusal=str(error),
        )
    labels = np.concatenate([each.labels for each in predictions])
    rows = _probabilities(predictions)
    shift = None if rows is None or rows_before is None else np.abs(rows - rows_before).max()
    return Alteration(
        name=name,
        num_images=len(images),
        num_changed=int((labels != before).sum()),
        num_correct=int((labels == truth).sum()),
        largest_shift=None if shift is None else float(shift),
        refusal=None,
    )


def _probabilities(predictions: list[Predictions]) -> NDArray[np.float64] | None:
    """Return all probabilities, ``[N, K]``; None where not all are told."""
    rows = [each.log_probabilities for each in predictions]
    known = [row for row in rows if row is not None and not np.isnan(row).any()]
    return np.exp(np.concatenate(known)) if len(known) == len(rows) else None


def _advice(endpoint: HttpEndpoint, exchanges: list[Exchange]) -> str | None:
    """Say whether the answers hold probabilities or logits that the file does not use."""
    description = endpoint.description
    answer = getattr(description, "answer", None)
    if endpoint.capability is Capability.PROBABILITIES or not hasattr(answer, "kind"):
        return None
    assert answer is not None
    for kind in ("probabilities", "logits"):
        if kind not in get_args(type(answer).model_fields["kind"].annotation):
            continue
        changed = answer.model_copy(update={"kind": kind})
        other = description.model_copy(update={"answer": changed})
        try:
            answered = [each for each in exchanges if each.raw.status < 300]
            read = [endpoint.read_as(other, each.raw, each.num_images) for each in answered]
        except SuspectError:
            continue
        if any(each.log_probabilities is None for each in read):
            continue  # the file does not say where they are
        if kind == "probabilities":
            return (
                "All classes are listed and add up to 1 in every answer: "
                'kind = "probabilities" under [answer] would use them.'
            )
        return (
            "Every answer has a number per class, and they do not add up to 1: if they are "
            'logits, kind = "logits" under [answer] would use them.'
        )
    return None
