"""No process is left behind when its terminal is gone.

A terminal that closes ends the app by a signal; but whoever is just drawing may wait for ever for a
terminal that takes no more. Then this ends the process, after a while: every answer is on disk.
"""

import os
import select
import sys
import threading
import time

GRACE_S = 10.0
"""What the app has to end by itself."""
HUNG_UP = 128 + 1
"""Exit status, as of a process that SIGHUP ended."""


def end_with_terminal(grace_s: float = GRACE_S) -> None:
    """End this process some time after its terminal has hung up; does nothing without one."""
    if not hasattr(select, "poll") or sys.__stdin__ is None or not sys.__stdin__.isatty():
        return  # Windows ends what a closed console ran
    descriptor = sys.__stdin__.fileno()
    threading.Thread(target=_watch, args=(descriptor, grace_s), daemon=True).start()


def _watch(descriptor: int, grace_s: float) -> None:
    poller = select.poll()
    poller.register(descriptor, 0)  # that it has hung up is always told
    poller.poll()
    time.sleep(grace_s)
    os._exit(HUNG_UP)
