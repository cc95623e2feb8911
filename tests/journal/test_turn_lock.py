"""One thread has the turn; others get it when it steps aside, waits or ends."""

import threading

import pytest

from audit.journal.turn_lock import Turn


def get_turn(turn: Turn, timeout_s: float = 10.0) -> bool:
    """Return whether another thread gets the turn in time."""
    got = threading.Event()

    def take() -> None:
        with turn:
            got.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return got.wait(timeout_s)


def test_nobody_else_has_it_however_often_it_is_taken() -> None:
    turn = Turn()
    with turn:
        with turn:
            assert not get_turn(turn, 0.05)
        assert turn.is_mine
        assert not get_turn(turn, 0.05)
    assert not turn.is_mine
    assert get_turn(turn)


def test_who_steps_aside_gets_it_back_as_often_as_it_was_taken() -> None:
    turn = Turn()
    with turn, turn:
        with turn.aside():
            assert not turn.is_mine
            assert get_turn(turn)
            with turn.aside():  # nothing to let go of
                assert not turn.is_mine
        assert turn.is_mine
        assert not get_turn(turn, 0.05)
    assert get_turn(turn)


def test_an_error_aside_comes_back_in_turn() -> None:
    turn = Turn()
    with turn:
        with pytest.raises(ConnectionError), turn.aside():
            raise ConnectionError
        assert turn.is_mine
    assert get_turn(turn)


def test_who_waits_for_a_change_lets_others_make_it() -> None:
    steps: list[str] = []
    turn = Turn(lambda: steps.append("ending"))

    def change() -> None:
        with turn:
            steps.append("changed")
            turn.notify()

    with turn, turn:
        thread = threading.Thread(target=change)
        thread.start()
        turn.wait_for(lambda: "changed" in steps)
        steps.append("seen")
        assert turn.is_mine
    thread.join()
    assert steps == ["ending", "changed", "ending", "seen", "ending"]


def test_what_has_to_be_done_before_others_get_it_is_done_in_turn() -> None:
    was_mine: list[bool] = []
    turn = Turn(lambda: was_mine.append(turn.is_mine))
    with turn:
        with turn:
            pass
        assert was_mine == []
        with turn.aside():
            assert was_mine == [True]
    assert was_mine == [True, True]


def test_an_error_before_the_end_is_told_and_the_turn_ends() -> None:
    def fail() -> None:
        raise OSError("disk full")

    turn = Turn(fail)
    with pytest.raises(OSError, match="disk full"), turn:
        pass
    assert not turn.is_mine
