"""A suspect behind HTTP: encode, send, retry, decode, map to the bundle's classes.

`open_endpoint` reads the endpoint file; `HttpEndpoint` satisfies `adapters.suspect.Suspect`.
How a request looks is the wire format's (`adapters.wire`), sending is `transport`'s, patience is
`retry`'s, `rate_limit`'s and `circuit_breaker`'s; every attempt is told to an observer before and
after it (`adapters.attempts`).
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import AttemptObserver
from adapters.class_map import ClassMap, Groups, SharedNameError, UnknownLabelError
from adapters.endpoint.client_certificate import ClientCertificateFiles
from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.grants import NOTHING, Grants
from adapters.endpoint.masking import masked
from adapters.endpoint.secrets import Credential
from adapters.endpoint.wire_format import AskAgainError, WireAnswer, WireRequest
from adapters.http.answer_meaning import AnswerReader, UnclearAnswers, in_labels
from adapters.http.circuit_breaker import CircuitBreaker
from adapters.http.grpc_transport import GrpcTransport
from adapters.http.rate_limit import RateLimiter
from adapters.http.rate_limit_file import SharedPace, shared_pace_path
from adapters.http.retry import ask_until_answered
from adapters.http.sender import Sender
from adapters.http.stop_signal import EndOfAsking
from adapters.http.transport import HttpTransport, RawAnswer
from adapters.http.witness import ImageRefusedError, Witness
from adapters.narrowed import joined
from adapters.payload import image_encoding
from adapters.printable import printable, shortened
from adapters.suspect import (
    ABSENT_CLASSES,
    MERGED_CLASSES,
    REFUSED,
    Capability,
    Predictions,
    SuspectError,
    SuspectIdentity,
    SuspectThrottledError,
    SuspectUnreachableError,
    absent_text,
    groups_text,
)
from adapters.tariff import SpendingLimits, Tariff

MAX_MESSAGE_CHARACTERS = 2000
"""Of an error; a server's words in it may be longer than anybody reads."""
PLAIN_HTTP_WARNING = "credentials and images went over plain HTTP, which anyone on the way can read"
JPEG_WARNING = "images are sent as JPEG, which loses the small changes that triggers are made of"


class HttpEndpoint:
    """A deployed classifier that is asked over HTTP, by several threads at once."""

    def __init__(
        self,
        description: EndpointDescription,
        classes: ClassMap,
        secret: Credential | None = None,
        ca_bundle: Path | None = None,
        grants: Grants = NOTHING,
        client_certificate: ClientCertificateFiles | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            description: The endpoint.
            classes: The bundle's class of each vendor label.
            secret: What signs requests, where the description names credentials.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
            grants: Where the host may lead, besides the internet.
            client_certificate: By which TLS proves who asks.
        """
        self._description = description
        self._classes = classes
        self._secret = secret
        self._written = tuple(description.written_secrets.values())
        self._format = description.wire_format(classes.num_told)
        self._takes_refusals = False
        self._is_closed = False
        self._pace = None
        if description.requests_per_second is not None:
            self._pace = SharedPace(shared_pace_path(), description.account)
        self._end = EndOfAsking()
        transport = GrpcTransport if description.is_grpc else HttpTransport
        self._transport = transport(description, secret, ca_bundle, grants, client_certificate)
        self._sender = Sender(self._format, self._transport, self._mask, self._new_limiter())
        self._begin()
        self._ca_bundle_sha256 = (
            None if ca_bundle is None else hashlib.sha256(ca_bundle.read_bytes()).hexdigest()
        )

    def __repr__(self) -> str:
        """Name the endpoint without query and credentials."""
        return f"HttpEndpoint({self._description.public_url!r})"

    @property
    def identity(self) -> SuspectIdentity:
        """Say who is being asked; neither credentials nor the URL's query are in it."""
        image = self._description.image
        details = {
            "format": self._description.format,
            "encoding": image.encoding,
            "image_size": "{}x{}".format(*image.size) if image.size else "as in the bundle",
        }
        if image.size:
            details["resampling"] = image.resampling
        if image.encoding == "jpeg":
            details["warning"] = JPEG_WARNING
        if self._description.sends_secret_in_the_clear:
            details["insecure"] = PLAIN_HTTP_WARNING
        if self._classes.merged:
            details[MERGED_CLASSES] = groups_text(self._classes.merged)
        if self._classes.absent:
            details[ABSENT_CLASSES] = absent_text(self._classes.absent)
        if self._ca_bundle_sha256 is not None:
            details["ca_bundle_sha256"] = self._ca_bundle_sha256
        return SuspectIdentity(
            kind="endpoint",
            name=self._description.public_url,
            digest=self._description.digest(),
            details=details,
        )

    @property
    def capability(self) -> Capability:
        """Say how much `predict` tells."""
        # What absent or merged classes have, the calibration models' answers do not tell.
        is_changed = self._classes.merged or self._classes.absent
        return Capability.LABELS if is_changed else self._format.capability

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self._format.batch_size

    @property
    def concurrency(self) -> int:
        """Number of requests in flight at once."""
        return self._description.concurrency

    @property
    def tariff(self) -> Tariff:
        """Say what requests cost."""
        return self._description.tariff

    @property
    def limits(self) -> SpendingLimits:
        """Say what its file lets one audit send and cost."""
        return self._description.limits

    @property
    def requests_per_second(self) -> float | None:
        """Say how fast requests may follow one another."""
        return self._description.requests_per_second

    @property
    def description(self) -> EndpointDescription:
        """Return what the endpoint file says; it holds no secret."""
        return self._description

    @property
    def merges_classes(self) -> bool:
        """Say whether some classes count as one."""
        return bool(self._classes.merged)

    def merge_classes(self, groups: Groups) -> None:
        """Take classes that share a name for one from now on; their scores are not used then."""
        self._classes = self._classes.merging(groups)

    def look_up(self) -> None:
        """Look up where the host leads; nothing is sent to it.

        Raises:
            NotGrantedError: To an address that nobody allowed.
        """
        self._transport.look_up()

    @property
    def unclear(self) -> tuple[UnclearAnswers, ...]:
        """Return what answers in words could not be understood since `watch`."""
        return self._reader.unclear

    def show(self, on_exchange: Callable[[WireRequest, RawAnswer], None] | None) -> None:
        """Call this with each request and the answer to it, before anybody looks at it."""
        self._sender.on_exchange = on_exchange

    def read_as(
        self, description: EndpointDescription, raw: RawAnswer, num_images: int
    ) -> Predictions:
        """Read an answer once more as another description would; nothing is sent.

        Raises:
            SuspectError: It cannot be read so.
        """
        wire_format = description.wire_format(self._classes.num_told)
        answer = wire_format.decode(raw.body, raw.headers, num_images)
        return self._predictions(answer)

    def labels_in_order(
        self, order: Sequence[int], raw: RawAnswer, num_images: int
    ) -> dict[str, int]:
        """Return the bundle's class of each label if the vendor has the classes in another order.

        Args:
            order: The class read now for what is really the bundle's class 0, 1, ...
            raw: An answer, which shows whether the vendor answers with integers.
            num_images: That were asked then.
        """
        answer = self._format.decode(raw.body, raw.headers, num_images)
        labels = in_labels(answer, self._classes).labels
        by_index = any(isinstance(label, int) for label in labels)
        return self._classes.in_order(order, by_index=by_index)

    def shown_headers(self, request: WireRequest) -> dict[str, str]:
        """Return a request's headers for people, with ``***`` in the place of what is secret."""
        proof = self._secret.shown_headers() if self._secret else {}
        return {name: self._mask(value) for name, value in {**request.headers, **proof}.items()}

    def mask(self, text: str) -> str:
        """Return ``text`` with everything secret replaced by ``***``."""
        return self._mask(text)

    def watch(
        self,
        observer: AttemptObserver | None,
        *,
        has_answered: bool = False,
        others: NDArray[np.uint8] | None = None,
    ) -> None:
        """Tell this observer of every attempt from now on; failures so far are forgotten.

        Args:
            observer: Keeps the books; None for nobody.
            has_answered: Whether it answered before, so that its failing is no reason to doubt
                the address.
            others: Images ``[M, H, W, C]`` that may be asked, too. Given them, an image that it
                never answers, or calls by an unknown name, is a refusal if it does others better.
        """
        self._sender.observer = observer
        self._takes_refusals = others is not None
        self._begin(has_answered=has_answered)
        if others is not None:
            wanted = self._description.image
            resized = [image_encoding.resize(image[None], wanted) for image in others]
            self._witness = Witness(resized, self._sender.aside)

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch with one request, repeated where it fails for the moment.

        Args:
            images: Pixels ``[N, H, W, C]``, RGB or grey, 0-255, N at most `batch_size`.

        Returns:
            N labels; log-probabilities ``[N, K]`` where the file says where they are.

        Raises:
            SuspectThrottledError: It kept saying "later", or began to fail; resume then.
            SuspectUnreachableError: No connection, no credentials, no classifier there.
            SuspectConfigError: The server refuses requests as the file describes them.
            SuspectError: The answer cannot be understood, or the endpoint was stopped.
        """
        if images.ndim != 4 or not 1 <= len(images) <= self.batch_size:
            raise ValueError(
                f"images: expected [1..{self.batch_size}, H, W, C], got {images.shape}"
            )
        image = self._description.image
        with nullcontext() if image.size is None else self._sender.aside():
            resized = image_encoding.resize(images, image)
        try:
            numbers = itertools.count(1)
            predictions = self._answered(resized, numbers)
            return dataclasses.replace(predictions, attempts=next(numbers) - 1)
        except SharedNameError:
            raise  # it holds nothing of the vendor's but a label
        except SuspectError as error:
            told = printable(shortened(self._mask(str(error)), MAX_MESSAGE_CHARACTERS))
            if told != str(error):
                raise type(error)(told) from None
            raise

    def _answered(self, images: NDArray[np.uint8], numbers: Iterator[int]) -> Predictions:
        """Ask; what gets no answer or no class, while others do, counts as refused.

        Args:
            images: ``[N, H, W, C]``.
            numbers: Of the attempts, the next one first.
        """
        answer: WireAnswer | None = None
        while True:
            try:
                with self._witness.asking():
                    answer = answer or self._asked(
                        images, numbers, lambda: self._answers_others(images, numbers)
                    )
                    predictions = self._predictions(answer)
                    self._witness.note(images[predictions.labels != REFUSED])
                    return predictions
            except ImageRefusedError:
                return self._refused(images, numbers)
            except (SuspectUnreachableError, SuspectThrottledError, SharedNameError):
                raise
            except SuspectError as error:
                if isinstance(error, UnknownLabelError) and error.label is None:
                    raise  # many words, none of them a class
                # Asked as patiently as any: a pause in between says nothing about the image.
                if not self._takes_refusals or not self._witness.speaks_for(
                    images,
                    lambda other: self._gets_class(other, partial(self._asked, other, numbers)),
                ):
                    raise
                if not isinstance(error, UnknownLabelError):
                    return self._refused(images, numbers)
                self._reader.take_for_refusal(error.label)

    def _asked(
        self,
        images: NDArray[np.uint8],
        numbers: Iterator[int],
        answers_others: Callable[[], bool] = lambda: False,
    ) -> WireAnswer:
        return ask_until_answered(
            lambda: self._sender.ask(images, next(numbers)),
            retries=self._description.retries,
            end=self._end,
            breaker=self._breaker,
            answers_others=answers_others,
        )

    def _answers_others(self, images: NDArray[np.uint8], numbers: Iterator[int]) -> bool:
        """Return whether another image gets a class now; each is asked once."""
        return self._takes_refusals and any(
            self._gets_class(other, partial(self._sender.ask, other, next(numbers)))
            for other in self._witness.beside(images)
        )

    def _gets_class(self, other: NDArray[np.uint8], asked: Callable[[], WireAnswer]) -> bool:
        try:
            labels = self._predictions(asked()).labels
        except SharedNameError:
            raise
        except (AskAgainError, SuspectError):
            self._end.check()
            return False
        self._witness.note(other[labels != REFUSED])
        return bool(labels[0] != REFUSED)

    def _refused(self, images: NDArray[np.uint8], numbers: Iterator[int]) -> Predictions:
        if len(images) == 1:
            return Predictions(labels=np.array([REFUSED], dtype=np.int64))
        # One of them is enough to fail all that travel with it.
        half = len(images) // 2
        return joined([self._answered(part, numbers) for part in (images[:half], images[half:])])

    def stop(self) -> None:
        """End all waiting now; every `predict`, running or to come, raises `SuspectError`.

        A request that is on its way ends with its answer or its time-out.
        """
        self._end.set()

    def close(self) -> None:
        """Stop, and close the connections."""
        self._is_closed = True
        self.stop()
        self._transport.close()
        if self._classes.words is not None:
            self._classes.words.close()
        if self._pace is not None:
            self._pace.close()

    def _begin(self, *, has_answered: bool = False) -> None:
        self._end = EndOfAsking(self._sender.aside)
        if self._is_closed:
            self._end.set()
        self._breaker = CircuitBreaker(self._description.max_failures, has_answered=has_answered)
        self._witness = Witness()
        self._reader = AnswerReader(self._mask)
        self._sender.limiter = self._new_limiter()

    def _new_limiter(self) -> RateLimiter:
        return RateLimiter(self._description.requests_per_second, self._end, self._pace)

    def _predictions(self, answer: WireAnswer) -> Predictions:
        return self._reader.predictions(
            answer,
            self._classes,
            self._sender.shown(answer.metadata),
            has_understood=self._witness.is_known,
        )

    def _mask(self, text: str) -> str:
        text = self._secret.mask(text) if self._secret else text
        return masked(text, self._written) if self._written else text
