"""When a bundle says it was made."""

import os
from datetime import UTC, datetime

from audit.errors import AuditError


def creation_time() -> str:
    """Return now as ``YYYY-MM-DDTHH:MM:SSZ``, or the time of ``SOURCE_DATE_EPOCH`` if that is set.

    Raises:
        AuditError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        now = datetime.now(UTC)
    else:
        try:
            now = datetime.fromtimestamp(int(epoch), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise AuditError(
                f"SOURCE_DATE_EPOCH: expected seconds since 1970, got {epoch!r}"
            ) from error
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
