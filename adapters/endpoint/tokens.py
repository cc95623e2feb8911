"""Tokens that are fetched while an audit runs: kept in memory, renewed in time, never written down.

Where they come from is a `TokenSource`: an OAuth2 server (`oauth2`) or a command of the user's
(`token_command`).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from adapters.endpoint.masking import MASK, masked
from adapters.endpoint.secrets import Auth, carried
from adapters.endpoint.wire_format import WireRequest

MARGIN_S = 60.0
"""How long before its end a token is renewed; of a short-lived one a fifth of its time."""
MAX_REMEMBERED = 32
"""Tokens that are masked, the newest ones."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What proves for a while who asks."""

    value: str = field(repr=False)
    valid_for_s: float | None = None
    """Seconds from now; None where nobody says, until it is refused."""


class TokenSource(Protocol):
    """Gets tokens."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what must not be shown besides tokens."""
        ...

    def fetch(self) -> Token:
        """Get a new token.

        Raises:
            AskAgainError: There is none now.
            SuspectError: There is none.
        """
        ...

    def look_up(self) -> None:
        """Look up where tokens come from, where that is a host."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class TokenCredential:
    """Proves who asks with a token; used by several threads.

    Args:
        source: Of tokens.
        auth: What carries them.
        clock: Seconds, for tests.
    """

    def __init__(
        self, source: TokenSource, auth: Auth, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source, self._auth, self._clock = source, auth, clock
        self._lock = threading.Lock()
        self._used = threading.local()
        self._token: str | None = None
        self._renew_at: float | None = None
        self._seen: dict[str, bool] = {}
        """Each token, and whether it was accepted."""

    def __repr__(self) -> str:
        """Say nothing secret."""
        return f"TokenCredential({self._auth.carrier})"

    def ready(self) -> None:
        """Have a token for the next request of this thread, a new one where that is due.

        Raises:
            AskAgainError: There is none now.
            SuspectError: There is none.
        """
        with self._lock:
            is_due = self._renew_at is not None and self._clock() >= self._renew_at
            if self._token is None or is_due:
                self._token = None
                started, token = self._clock(), self.source.fetch()
                self._token, self._renew_at = token.value, None
                if token.valid_for_s is not None:
                    margin = min(MARGIN_S, token.valid_for_s / 5)
                    self._renew_at = started + token.valid_for_s - margin
                self._seen[token.value] = False
                while len(self._seen) > MAX_REMEMBERED:
                    del self._seen[next(iter(self._seen))]
            self._used.token = self._token

    def accepted(self) -> None:
        """Note that the server took the token of this thread's request."""
        token = self._used.token
        if not self._seen.get(token, True):
            with self._lock:
                self._seen[token] = True

    def refused(self) -> bool:
        """Note that the server did not; return whether a new token may help.

        One that it took before has expired or was withdrawn. One that it never took is wrong, and
        so would be the next.
        """
        token = self._used.token
        with self._lock:
            if self._token != token:
                return True  # another thread has dealt with it
            if not self._seen.get(token, True):
                return False
            self._token = None
            return True

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the header that carries the token."""
        return carried(self._auth, self._used.token)

    def shown_headers(self) -> dict[str, str]:
        """Return it with ``***`` in the place of the token."""
        return carried(self._auth, MASK)

    def mask(self, text: str) -> str:
        """Return ``text`` without tokens, and without what they are fetched with."""
        with self._lock:
            tokens = tuple(self._seen)
        return masked(text, (*self.source.secrets, *tokens))

    def look_up(self) -> None:
        """Look up where tokens come from."""
        self.source.look_up()

    def close(self) -> None:
        """Forget the token."""
        with self._lock:
            self._token = None
        self.source.close()
