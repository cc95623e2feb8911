"""Ctrl-C ends a run between two steps; a second one at once."""

import os
import signal
import threading
import time

import pytest

from audit.commands.terminal.interruption import Interruption


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_interrupt_waits_for_the_next_check() -> None:
    woken: list[bool] = []
    with Interruption(lambda: woken.append(True)) as interruption:
        interruption.check()
        interrupt()
        assert woken == [True]  # and whatever was under way here goes on
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_the_second_interrupt_is_at_once() -> None:
    with Interruption(lambda: None):
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_nobody_sleeps_through_an_interrupt() -> None:
    with Interruption(lambda: None) as interruption:
        threading.Timer(0.1, interrupt).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interruption.sleep(600)
        assert time.monotonic() - started < 300


def test_afterwards_everything_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    found = []

    def run() -> None:
        with Interruption(lambda: None) as interruption:
            found.append(signal.getsignal(signal.SIGINT))
            interruption.sleep(0.0)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]
