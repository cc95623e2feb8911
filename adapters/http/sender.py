"""One request about some images, and its answer decoded, with the books kept.

What a request says is the wire format's, sending it `transport`'s; patience is not here.
"""

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray

from adapters.attempts import Attempt, AttemptEnd, AttemptObserver, Result
from adapters.endpoint.wire_format import (
    AskAgainError,
    ReadsRefusals,
    SelfConfiguring,
    WireAnswer,
    WireFormat,
    WireRequest,
)
from adapters.http.masked_answer import masked_body, read_answer_body
from adapters.http.rate_limit import RateLimiter
from adapters.http.retry import MAX_RETRY_AFTER_S
from adapters.http.retry_headers import seconds_until_quota
from adapters.http.server_identity import presentable, server_words
from adapters.http.transport import HttpTransport, RawAnswer
from adapters.suspect import SuspectConfigError, SuspectError

_MAX_ALONE_BYTES = 1 << 18
"""Pixels that are made ready while others wait: more of them are, aside."""


MAX_SENT = 4096
"""Requests whose numbers are remembered."""
_NO_ANSWER = {
    202: "the server has taken the request and will answer later or elsewhere, so that this is "
    "none; write the address that answers at once",
    204: "the server has nothing to say about the image; check the address",
    205: "the server has nothing to say about the image; check the address",
}
"""Statuses of success without an answer."""


class Sender:
    """Asks one endpoint, by several threads at once.

    Args:
        wire_format: How requests and answers look.
        transport: Sends them.
        mask: Puts something else in the place of secrets.
        limiter: Hands out turns.
    """

    def __init__(
        self,
        wire_format: WireFormat,
        transport: HttpTransport,
        mask: Callable[[str], str],
        limiter: RateLimiter,
    ) -> None:
        self._format, self._transport, self._mask = wire_format, transport, mask
        self._learning = threading.Lock()
        self._sent: dict[str, None] = {}
        self._learner = wire_format if isinstance(wire_format, SelfConfiguring) else None
        self.limiter = limiter
        self.observer: AttemptObserver | None = None
        """Keeps the books."""
        self.on_exchange: Callable[[WireRequest, RawAnswer], None] | None = None
        """Gets each request and the answer to it, before anybody looks at it."""

    def aside(self) -> AbstractContextManager[object]:
        """Return what a thread is in while it waits."""
        return nullcontext() if self.observer is None else self.observer.aside()

    def ask(self, images: NDArray[np.uint8], number: int) -> WireAnswer:
        """Send one request and decode its answer, with the observer's leave.

        Args:
            images: ``[N, H, W, C]`` in the size that the endpoint takes.
            number: Of the attempt, from 1.

        Raises:
            AskAgainError: There is none now.
            SuspectError: There is none, or it cannot be understood.
        """
        self.limiter.acquire()
        if self._transport.must_wait:
            with self.aside():
                self._transport.ready()  # before anything is paid for
        self._learn()
        observer, handle = self.observer, 0
        # Large images are encoded side by side, mostly outside the interpreter's lock.
        with nullcontext() if images.nbytes <= _MAX_ALONE_BYTES else self.aside():
            request = self._format.encode(images)
            digest = hashlib.sha256(request.body).hexdigest()
        if observer is not None:
            attempt = Attempt(number=number, num_images=len(images), request_sha256=digest)
            handle = observer.sending(attempt)
        if request.id is not None:
            self._note_sent(request.id)
        started, arrived = time.monotonic(), None
        raw: RawAnswer | None = None
        answer: WireAnswer | None = None
        result = Result.FAILED
        try:
            with self.aside():
                raw = self._transport.send(request)
                arrived = time.monotonic()  # from here on others may keep it waiting
            if self.on_exchange is not None:
                self.on_exchange(request, raw)
            self._transport.settle(raw)
            self._check(raw)
            answer = self._decoded(raw, request, len(images))
            result = Result.ANSWERED
        except AskAgainError as error:
            result = Result.LATER if error.is_throttled else Result.FAILED
            pause_s = error.retry_after_s if error.is_throttled else None
            if pause_s is not None and pause_s <= MAX_RETRY_AFTER_S:
                self.limiter.hold(pause_s)
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
                    metadata=self.shown(answer.metadata if answer else {}),
                )
                observer.ended(handle, end)
        pause_s = seconds_until_quota(raw.headers)
        if pause_s is not None and pause_s <= MAX_RETRY_AFTER_S:
            self.limiter.hold(pause_s)
        return answer

    def _note_sent(self, number: str) -> None:
        with self._learning:
            self._sent[number] = None
            while len(self._sent) > MAX_SENT:
                del self._sent[next(iter(self._sent))]

    def _learn(self) -> None:
        """Let the format ask the server about its model, where it needs to, once."""
        if self._learner is not None and self._learner.question() is not None:
            # Others may wait for the same, and nobody has the turn meanwhile.
            with self.aside(), self._learning:
                if (question := self._learner.question()) is not None:
                    raw = self._transport.send(question)
                    self._check(raw)
                    read_answer_body(raw.body, self._learner.learn, self._mask)

    def _check(self, raw: RawAnswer) -> None:
        if raw.status in _NO_ANSWER:
            raise SuspectConfigError(
                f"url: expected an answer, got status {raw.status}: {_NO_ANSWER[raw.status]}"
            )
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
        # HTTP pairs request and answer, and servers number their answers as they like. Only one
        # that names another of our requests is not the answer to this one.
        if answer.id != request.id and answer.id in self._sent:
            raise AskAgainError("the answer to another request")
        said = server_words(raw.headers, raw.certificate)
        return dataclasses.replace(answer, metadata={**answer.metadata, **said})

    def shown(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Return what an answer said about the server, without secrets."""
        # Masked before it is cut, so that no half of an echoed secret remains.
        return {name: presentable(self._mask(value)) for name, value in metadata.items()}
