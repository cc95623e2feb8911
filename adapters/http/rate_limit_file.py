"""The pace of one vendor account, shared by all processes of a user on a machine.

One small SQLite file. A turn is taken in one transaction and nothing is reserved ahead, so that a
process that is killed while it waits keeps nobody else waiting. Times are the machine's monotonic
clock, which all processes share and nobody can set; a time that lies impossibly far ahead is from
before a restart and does not count. Nothing in the file is secret, and losing it costs no more
than one turn.
"""

import hashlib
import sqlite3
from pathlib import Path

import platformdirs

from adapters.suspect import SuspectConfigError

MAX_HOLD_S = 600.0
"""No pause that we would wait for is longer."""
_LOCK_TIMEOUT_S = 30.0
_ADVICE = (
    "requests_per_second: expected a file that keeps the pace between processes, got none; "
    "let XDG_CACHE_HOME name a folder that can be written"
)


def shared_pace_path() -> Path:
    """Return the file that all processes of this user share."""
    return platformdirs.user_cache_path("kinprint") / "pace.sqlite"


class SharedPace:
    """One account's row of the file; satisfies `adapters.http.rate_limit.Pace`."""

    def __init__(self, path: Path, account: str) -> None:
        """Open the file, and make it where it is missing.

        Args:
            path: The file.
            account: Names the vendor and the place of the credential, never the credential.

        Raises:
            SuspectConfigError: The file cannot be used.
        """
        # Who looks into the file learns no vendor and no name of a variable.
        self._key = hashlib.sha256(account.encode()).hexdigest()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The limiter's lock lets in one thread at a time.
            self._connection = sqlite3.connect(
                path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # A machine that dies takes at most a turn along, and its clock starts anew then.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS paces (account TEXT PRIMARY KEY, "
                "last_start REAL NOT NULL, held_until REAL NOT NULL) STRICT"
            )
        except (OSError, sqlite3.Error) as error:
            raise SuspectConfigError(f"{_ADVICE} ({path}: {error})") from error

    def start(self, now: float, interval_s: float) -> float:
        """See `adapters.http.rate_limit.Pace.start`."""
        try:
            # Looking and taking are one: two processes must not both look before one of them
            # writes.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                delay_s = self._delay(now, interval_s)
                if delay_s <= 0:
                    self._connection.execute(
                        "INSERT INTO paces VALUES (?, ?, 0) ON CONFLICT (account) "
                        "DO UPDATE SET last_start = excluded.last_start",
                        (self._key, now),
                    )
            finally:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise SuspectConfigError(f"{_ADVICE} ({error})") from error
        return max(0.0, delay_s)

    def hold(self, until: float) -> None:
        """See `adapters.http.rate_limit.Pace.hold`."""
        try:
            self._connection.execute(
                "INSERT INTO paces VALUES (?, 0, ?) ON CONFLICT (account) "
                # A shorter pause, said to another process, never ends a longer one; but one from
                # before a restart of the machine ends here.
                "DO UPDATE SET held_until = CASE WHEN held_until > excluded.held_until + ? "
                "THEN excluded.held_until ELSE max(held_until, excluded.held_until) END",
                (self._key, until, MAX_HOLD_S),
            )
        except sqlite3.Error as error:
            raise SuspectConfigError(f"{_ADVICE} ({error})") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _delay(self, now: float, interval_s: float) -> float:
        row = self._connection.execute(
            "SELECT last_start, held_until FROM paces WHERE account = ?", (self._key,)
        ).fetchone()
        if row is None:
            return 0.0
        last_start, held_until = row
        if last_start > now + 1:  # from before a restart of the machine
            last_start = now - interval_s
        # Likewise, since nobody would wait so long.
        if held_until > now + MAX_HOLD_S:
            held_until = 0.0
        return float(max(last_start + interval_s, held_until) - now)
