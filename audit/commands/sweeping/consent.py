"""What the endpoint files of a sweep may use is settled before the sweep begins.

While it runs nobody is asked: questions would come in the middle of its progress, from threads.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from adapters.endpoint.grants import NotGrantedError
from adapters.suspect import SuspectError
from audit.bundle.manifest import BundleContents
from audit.commands.consent import opened_with_consent
from audit.suspects.opening import open_remote
from audit.sweep.tasks import SweepSettings


def consent_to_endpoints(
    bundle: BundleContents, paths: Iterable[Path], allow: Sequence[str], settings: SweepSettings
) -> Sequence[str]:
    """Ask for what endpoint files want to use.

    Args:
        bundle: Any of the sweep's.
        paths: Endpoint files that somebody named.
        allow: What is allowed for this run.
        settings: How they will be opened.

    Returns:
        What is allowed for this run by now.

    Raises:
        NotGrantedError: One wants more, and nobody is there to ask.
        click.ClickException: The user said no.
    """

    def tried(path: Path, allow: Sequence[str]) -> Sequence[str]:
        try:
            endpoint = open_remote(
                bundle,
                path,
                ca_bundle=settings.ca_bundle,
                allow_plain_http=settings.allow_plain_http,
                allow=allow,
                looks_up=True,
            )
            endpoint.close()
        except NotGrantedError:
            raise
        except SuspectError:
            pass  # its row will say so
        return allow

    for path in paths:
        allow = opened_with_consent(path, allow, partial(tried, path))
    return allow
