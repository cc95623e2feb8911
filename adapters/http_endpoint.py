"""A suspect behind HTTP: encode, send, retry, decode, map to the bundle's classes.

`open_endpoint` reads the endpoint file; `HttpEndpoint` satisfies `adapters.suspect.Suspect`.
How a request looks is the wire format's (``adapters/wire``), sending is `http_transport`'s,
patience is `http_retry`'s and `rate_limit`'s.
"""

import dataclasses
import hashlib
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters import image_encoding
from adapters.class_map import ClassMap, class_map
from adapters.endpoint_description import EndpointDescription
from adapters.endpoint_file import read_endpoint_file
from adapters.http_retry import MAX_RETRY_AFTER_S, ask_until_answered
from adapters.http_transport import HttpTransport
from adapters.rate_limit import RateLimiter
from adapters.secrets import Secret, read_secret
from adapters.server_words import presentable, server_words
from adapters.suspect import (
    Capability,
    Predictions,
    SuspectConfigError,
    SuspectError,
    SuspectIdentity,
)
from adapters.wire.protocol import AskAgainError, WireAnswer

JPEG_WARNING = "images are sent as JPEG, which loses the small changes that triggers are made of"


class HttpEndpoint:
    """A deployed classifier that is asked over HTTP, by several threads at once."""

    def __init__(
        self,
        description: EndpointDescription,
        classes: ClassMap,
        secret: Secret | None = None,
        ca_bundle: Path | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            description: The endpoint.
            classes: The bundle's class of each vendor label.
            secret: Credential, where the description has a table ``[auth]``.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
        """
        self._description = description
        self._classes = classes
        self._secret = secret
        self._format = description.wire_format()
        self._stop = threading.Event()
        self._limiter = RateLimiter(description.requests_per_second, self._stop)
        self._transport = HttpTransport(description, secret, ca_bundle)
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

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch with one request, repeated where it fails for the moment.

        Args:
            images: Pixels ``[N, H, W, C]``, RGB or grey, 0-255, N at most `batch_size`.

        Returns:
            N labels; log-probabilities ``[N, K]`` where the file says where they are.

        Raises:
            SuspectThrottledError: It kept saying "later"; resume then.
            SuspectUnreachableError: No connection, no credentials, no classifier there.
            SuspectConfigError: The server refuses requests as the file describes them.
            SuspectError: The answer cannot be understood, or the endpoint was stopped.
        """
        if images.ndim != 4 or not 1 <= len(images) <= self.batch_size:
            raise ValueError(
                f"images: expected [1..{self.batch_size}, H, W, C], got {images.shape}"
            )
        resized = image_encoding.resize(images, self._description.image)
        try:
            answer, attempts = ask_until_answered(
                lambda: self._attempt(resized),
                retries=self._description.retries,
                stop=self._stop,
            )
            return self._predictions(answer, attempts)
        except SuspectError as error:
            masked = self._mask(str(error))
            if masked != str(error):
                raise type(error)(masked) from None
            raise

    def stop(self) -> None:
        """End all waiting now; every `predict`, running or to come, raises `SuspectError`.

        A request that is on its way ends with its answer or its time-out.
        """
        self._stop.set()

    def close(self) -> None:
        """Stop, and close the connections."""
        self.stop()
        self._transport.close()

    def _attempt(self, images: NDArray[np.uint8]) -> WireAnswer:
        """Send one request and decode its answer."""
        self._limiter.acquire()
        try:
            raw = self._transport.send(self._format.encode(images))
        except AskAgainError as error:
            pause_s = error.retry_after_s if error.is_throttled else None
            if pause_s is not None and pause_s <= MAX_RETRY_AFTER_S:
                self._limiter.hold(pause_s)
            raise
        answer = self._format.decode(raw.body, raw.headers, len(images))
        said = server_words(raw.headers, raw.certificate)
        return dataclasses.replace(answer, metadata={**answer.metadata, **said})

    def _predictions(self, answer: WireAnswer, attempts: int) -> Predictions:
        labels = [self._classes.class_of(label) for label in answer.labels]
        log_probabilities = None
        if answer.scores is not None:
            rows = [self._classes.log_probabilities(scores) for scores in answer.scores]
            log_probabilities = np.stack(rows)  # N times [K] -> [N, K]
        return Predictions(
            labels=np.array(labels, dtype=np.int64),
            log_probabilities=log_probabilities,
            attempts=attempts,
            # Masked before it is cut, so that no half of an echoed secret remains.
            metadata={
                name: presentable(self._mask(value)) for name, value in answer.metadata.items()
            },
        )

    def _mask(self, text: str) -> str:
        return self._secret.mask(text) if self._secret else text


def open_endpoint(path: Path, *, bundle_classes: Sequence[str] | None = None) -> HttpEndpoint:
    """Read an endpoint file and fetch the secret that it names; nothing is sent yet.

    Args:
        path: TOML file, see ``docs/endpoints.md``.
        bundle_classes: The bundle's class names in its order; needed where the file maps labels
            to names or names no classes at all, and checked against the file otherwise.

    Raises:
        SuspectConfigError: A field is wrong, the secret is missing, or the classes do not fit.
    """
    description = read_endpoint_file(path)
    try:
        secret = read_secret(description.auth, path.parent) if description.auth else None
        ca_bundle = _ca_bundle(description, path.parent)
        classes = class_map(description.class_names, bundle_classes)
    except SuspectConfigError as error:
        raise SuspectConfigError(f"{path}: {error}") from error
    return HttpEndpoint(description, classes, secret, ca_bundle)


def _ca_bundle(description: EndpointDescription, folder: Path) -> Path | None:
    if description.ca_bundle is None:
        return None
    path = folder / description.ca_bundle
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        found = "none" if isinstance(error, ssl.SSLError) else error.strerror
        raise SuspectConfigError(
            f"ca_bundle: expected PEM certificates in {path}, got {found}"
        ) from error
    return path
