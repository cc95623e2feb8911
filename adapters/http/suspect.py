"""A suspect behind HTTP: encode, send, retry, decode, map to the bundle's classes.

`open_endpoint` reads the endpoint file; `HttpEndpoint` satisfies `adapters.suspect.Suspect`.
How a request looks is the wire format's (`adapters.wire`), sending is `transport`'s, patience is
`retry`'s, `rate_limit`'s and `circuit_breaker`'s; every attempt is told to an observer before and
after it (`adapters.attempts`).
"""

import dataclasses
import hashlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import Attempt, AttemptEnd, AttemptObserver, Result
from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.grants import NOTHING, Grants, NotGrantedError, origin_of
from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.secrets import Credential
from adapters.endpoint.wire_format import (
    AskAgainError,
    ReadsRefusals,
    SelfConfiguring,
    WireAnswer,
    WireRequest,
)
from adapters.http.circuit_breaker import CircuitBreaker
from adapters.http.class_map import ClassMap, class_map
from adapters.http.endpoint_file import read_endpoint_file
from adapters.http.masked_answer import masked_body, read_answer_body
from adapters.http.peer_address import require_written_address
from adapters.http.rate_limit import RateLimiter
from adapters.http.rate_limit_file import SharedPace, shared_pace_path
from adapters.http.retry import MAX_RETRY_AFTER_S, ask_until_answered
from adapters.http.retry_headers import seconds_until_quota
from adapters.http.server_identity import presentable, server_words
from adapters.http.stop_signal import EndOfAsking
from adapters.http.transport import HttpTransport, RawAnswer
from adapters.payload import image_encoding
from adapters.printable import printable, shortened
from adapters.suspect import (
    Capability,
    Predictions,
    SuspectConfigError,
    SuspectError,
    SuspectIdentity,
)
from adapters.tariff import SpendingLimits, Tariff

MAX_MESSAGE_CHARACTERS = 2000
"""Of an error; a server's words in it may be longer than anybody reads."""
_MAX_ALONE_BYTES = 1 << 18
"""Pixels that are made ready while others wait: more of them are, aside."""
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
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            description: The endpoint.
            classes: The bundle's class of each vendor label.
            secret: What signs requests, where the description names credentials.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
            grants: Where the host may lead, besides the internet.
        """
        self._description = description
        self._classes = classes
        self._secret = secret
        self._format = description.wire_format(len(classes.classes))
        self._learning = threading.Lock()
        self._on_exchange: Callable[[WireRequest, RawAnswer], None] | None = None
        self._learner = self._format if isinstance(self._format, SelfConfiguring) else None
        self._observer: AttemptObserver | None = None
        self._aside: Callable[[], AbstractContextManager[object]] = nullcontext
        self._is_closed = False
        self._pace = None
        if description.requests_per_second is not None:
            self._pace = SharedPace(shared_pace_path(), description.account)
        self._begin()
        self._transport = HttpTransport(description, secret, ca_bundle, grants)
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
        return self._format.capability

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

    def look_up(self) -> None:
        """Look up where the host leads; nothing is sent to it.

        Raises:
            NotGrantedError: To an address that nobody allowed.
        """
        self._transport.look_up()

    def show(self, on_exchange: Callable[[WireRequest, RawAnswer], None] | None) -> None:
        """Call this with each request and the answer to it, before anybody looks at it."""
        self._on_exchange = on_exchange

    def read_as(
        self, description: EndpointDescription, raw: RawAnswer, num_images: int
    ) -> Predictions:
        """Read an answer once more as another description would; nothing is sent.

        Raises:
            SuspectError: It cannot be read so.
        """
        wire_format = description.wire_format(len(self._classes.classes))
        answer = wire_format.decode(raw.body, raw.headers, num_images)
        return self._predictions(answer, attempts=1)

    def labels_in_order(
        self, order: Sequence[int], raw: RawAnswer, num_images: int
    ) -> dict[str, int]:
        """Return the bundle's class of each label if the vendor has the classes in another order.

        Args:
            order: The class read now for what is really the bundle's class 0, 1, ...
            raw: An answer, which shows whether the vendor answers with integers.
            num_images: That were asked then.
        """
        labels = self._format.decode(raw.body, raw.headers, num_images).labels
        by_index = any(isinstance(label, int) for label in labels)
        return self._classes.in_order(order, by_index=by_index)

    def shown_headers(self, request: WireRequest) -> dict[str, str]:
        """Return a request's headers for people, with ``***`` in the place of what is secret."""
        proof = self._secret.shown_headers() if self._secret else {}
        return {name: self._mask(value) for name, value in {**request.headers, **proof}.items()}

    def mask(self, text: str) -> str:
        """Return ``text`` with everything secret replaced by ``***``."""
        return self._mask(text)

    def watch(self, observer: AttemptObserver | None, *, has_answered: bool = False) -> None:
        """Tell this observer of every attempt from now on; failures so far are forgotten.

        Args:
            observer: Keeps the books; None for nobody.
            has_answered: Whether it answered before, so that its failing is no reason to doubt
                the address.
        """
        self._observer = observer
        self._aside = nullcontext if observer is None else observer.aside
        self._begin(has_answered=has_answered)

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
        with nullcontext() if image.size is None else self._aside():
            resized = image_encoding.resize(images, image)
        try:
            answer, attempts = ask_until_answered(
                lambda number: self._attempt(resized, number),
                retries=self._description.retries,
                end=self._end,
                breaker=self._breaker,
            )
            return self._predictions(answer, attempts)
        except SuspectError as error:
            told = printable(shortened(self._mask(str(error)), MAX_MESSAGE_CHARACTERS))
            if told != str(error):
                raise type(error)(told) from None
            raise

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
        if self._pace is not None:
            self._pace.close()

    def _begin(self, *, has_answered: bool = False) -> None:
        self._end = EndOfAsking(self._aside)
        if self._is_closed:
            self._end.set()
        self._breaker = CircuitBreaker(
            self._description.max_failures, self._end, has_answered=has_answered
        )
        self._limiter = RateLimiter(self._description.requests_per_second, self._end, self._pace)

    def _attempt(self, images: NDArray[np.uint8], number: int) -> WireAnswer:
        """Send one request and decode its answer, with the observer's leave."""
        self._limiter.acquire()
        self._learn()
        observer, handle = self._observer, 0
        # Large images are encoded side by side, mostly outside the interpreter's lock.
        with nullcontext() if images.nbytes <= _MAX_ALONE_BYTES else self._aside():
            request = self._format.encode(images)
            digest = hashlib.sha256(request.body).hexdigest()
        if observer is not None:
            attempt = Attempt(number=number, num_images=len(images), request_sha256=digest)
            handle = observer.sending(attempt)
        started, arrived = time.monotonic(), None
        raw: RawAnswer | None = None
        answer: WireAnswer | None = None
        result = Result.FAILED
        try:
            with self._aside():
                raw = self._transport.send(request)
                arrived = time.monotonic()  # from here on others may keep it waiting
            if self._on_exchange is not None:
                self._on_exchange(request, raw)
            self._check(raw)
            answer = self._decoded(raw, request, len(images))
            result = Result.ANSWERED
        except AskAgainError as error:
            result = Result.LATER if error.is_throttled else Result.FAILED
            pause_s = error.retry_after_s if error.is_throttled else None
            if pause_s is not None and pause_s <= MAX_RETRY_AFTER_S:
                self._limiter.hold(pause_s)
            raise
        except SuspectError:
            result = Result.REFUSED
            raise
        finally:
            if observer is not None:
                end = AttemptEnd(
                    result=result,
                    latency_s=(arrived or time.monotonic()) - started,
                    status=raw.status if raw else None,
                    answer_sha256=hashlib.sha256(raw.body).hexdigest() if raw else None,
                    metadata=self._shown(answer.metadata if answer else {}),
                )
                observer.ended(handle, end)
        pause_s = seconds_until_quota(raw.headers)
        if pause_s is not None and pause_s <= MAX_RETRY_AFTER_S:
            self._limiter.hold(pause_s)
        return answer

    def _learn(self) -> None:
        """Let the format ask the server about its model, where it needs to, once."""
        if self._learner is not None and self._learner.question() is not None:
            # Others may wait for the same, and nobody has the turn meanwhile.
            with self._aside(), self._learning:
                if (question := self._learner.question()) is not None:
                    raw = self._transport.send(question)
                    self._check(raw)
                    read_answer_body(raw.body, self._learner.learn, self._mask)

    def _check(self, raw: RawAnswer) -> None:
        if 200 <= raw.status < 300:
            return
        # Masked before it is cut, so that no half of an echoed secret remains.
        refused = dataclasses.replace(raw, body=masked_body(raw.body, self._mask))
        if raw.status >= 400 and isinstance(self._format, ReadsRefusals):
            refusal = self._format.refusal(raw.status, raw.headers, refused.body)
            if refusal is not None:
                raise refusal
        self._transport.refuse(refused)

    def _decoded(self, raw: RawAnswer, request: WireRequest, num_images: int) -> WireAnswer:
        answer = read_answer_body(
            raw.body,
            lambda body: self._format.decode(body, raw.headers, num_images),
            self._mask,
        )
        if answer.id != request.id:
            raise AskAgainError("the answer to another request")
        said = server_words(raw.headers, raw.certificate)
        return dataclasses.replace(answer, metadata={**answer.metadata, **said})

    def _predictions(self, answer: WireAnswer, attempts: int) -> Predictions:
        labels = [self._classes.class_of(label) for label in answer.labels]
        log_probabilities = None
        if answer.scores is not None:
            kind = answer.scores_kind
            rows = [
                self._classes.told_log_probabilities(scores)
                if kind == "top_k"
                else self._classes.log_probabilities(scores, kind)
                for scores in answer.scores
            ]
            log_probabilities = np.stack(rows)  # N times [K] -> [N, K]
        return Predictions(
            labels=np.array(labels, dtype=np.int64),
            log_probabilities=log_probabilities,
            attempts=attempts,
            metadata=self._shown(answer.metadata),
        )

    def _shown(self, metadata: Mapping[str, str]) -> dict[str, str]:
        # Masked before it is cut, so that no half of an echoed secret remains.
        return {name: presentable(self._mask(value)) for name, value in metadata.items()}

    def _mask(self, text: str) -> str:
        return self._secret.mask(text) if self._secret else text


def open_endpoint(
    path: Path,
    *,
    bundle_classes: Sequence[str] | None = None,
    ca_bundle: Path | None = None,
    allow_plain_http: bool = False,
    requests_per_second: float | None = None,
    grants: Grants = NOTHING,
) -> HttpEndpoint:
    """Read an endpoint file and fetch the secret that it names; nothing is sent yet.

    Args:
        path: TOML file, see ``docs/endpoints.md``.
        bundle_classes: The bundle's class names in its order; needed where the file maps labels
            to names or names no classes at all, and checked against the file otherwise.
        ca_bundle: Authorities (PEM) that count instead of those that the file names.
        allow_plain_http: Let credentials travel to another machine without TLS.
        requests_per_second: Upper limit, instead of the one that the file names.
        grants: What the file may use of this machine, and where its host may lead.

    Raises:
        NotGrantedError: The file wants more than that; nothing of it was read.
        SuspectConfigError: A field is wrong, the secret is missing, or the classes do not fit.
    """
    description = read_endpoint_file(path, allow_plain_http=allow_plain_http)
    if requests_per_second is not None:
        if not 0 < requests_per_second < float("inf"):
            raise SuspectConfigError(
                f"rate: expected more than 0 requests a second, got {requests_per_second:g}"
            )
        changed = {"requests_per_second": requests_per_second}
        description = description.model_copy(update=changed)
    url = description.url
    access = LocalAccess(folder=path.parent, origin=origin_of(url), grants=grants)
    try:
        require_written_address(urlsplit(url).hostname or "", grants)
        secret = description.credential(access)
        authorities = _ca_bundle(description, access, ca_bundle)
        classes = class_map(description.class_names, bundle_classes)
    except NotGrantedError as error:
        raise NotGrantedError(f"{path}: {error}", error.needs) from error
    except SuspectConfigError as error:
        raise SuspectConfigError(f"{path}: {error}") from error
    return HttpEndpoint(description, classes, secret, authorities, grants)


def _ca_bundle(
    description: EndpointDescription, access: LocalAccess, given: Path | None
) -> Path | None:
    if given is None and description.ca_bundle is None:
        return None
    if given is not None and description.url.startswith("http:"):
        raise SuspectConfigError("ca_bundle: expected none beside a http:// url, which has no TLS")
    path = given or access.file(str(description.ca_bundle), "to vouch for its certificate")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        found = "none" if isinstance(error, ssl.SSLError) else error.strerror
        raise SuspectConfigError(
            f"ca_bundle: expected PEM certificates in {path}, got {found}"
        ) from error
    return path
