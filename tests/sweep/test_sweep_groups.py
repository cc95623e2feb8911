"""Which tasks of a sweep travel together."""

import pytest

from audit.suspects.found_files import SuspectKind
from audit.sweep.groups import GROUP_S, MAX_GROUP, MAX_GROUP_BYTES, Group, TaskGroups
from audit.sweep.tasks import SuspectTask


def task(name: str) -> SuspectTask:
    return SuspectTask(
        suspect=name, path=f"/hub/{name}.onnx", kind=SuspectKind.ONNX, sha256=None, bundles=()
    )


def waiting(num: int, *, suspect_s: float | None, num_bytes: int = 1000) -> TaskGroups:
    groups = TaskGroups()
    if suspect_s is not None:
        groups.learn(suspect_s)
    for number in range(num):
        groups.add(task(f"{number}"), num_bytes)
    return groups


def taken(groups: TaskGroups, num_slots: int = 1) -> list[list[str]]:
    """Take all groups there are."""
    found = []
    while group := groups.take(num_slots):
        found.append(names(group))
    return found


def names(group: Group) -> list[str]:
    return [one.suspect for one in group.tasks]


@pytest.mark.parametrize(
    ("suspect_s", "size"),
    [
        (None, 1),  # nobody knows yet
        (0.0, MAX_GROUP),
        (GROUP_S / 5.5, 5),
        (GROUP_S, 1),
        (3600.0, 1),
    ],
)
def test_a_group_takes_about_as_long_whatever_a_suspect_takes(
    suspect_s: float | None, size: int
) -> None:
    groups = waiting(40, suspect_s=suspect_s)
    assert groups.size == size
    assert len(taken(groups)[0]) == size


def test_every_task_travels_once_and_in_order() -> None:
    groups = waiting(40, suspect_s=GROUP_S / 5.5)
    order = [name for group in taken(groups) for name in group]
    assert order == [str(number) for number in range(40)]
    assert groups.take(1) is None


def test_one_slow_suspect_makes_groups_smaller_at_once() -> None:
    groups = waiting(0, suspect_s=0.01)
    assert groups.size == MAX_GROUP
    groups.learn(100 * GROUP_S)
    assert groups.size == 1


def test_the_last_tasks_are_shared_out_among_all_workers() -> None:
    groups = waiting(6, suspect_s=0.001)
    # Of six for three workers each gets two; of four two, of two one.
    assert taken(groups, num_slots=3) == [["0", "1"], ["2", "3"], ["4"], ["5"]]


def test_a_large_file_travels_alone() -> None:
    groups = waiting(2, suspect_s=0.001)
    groups.add(task("large"), MAX_GROUP_BYTES + 1)
    groups.add(task("after"), 1000)
    assert taken(groups) == [["0", "1"], ["large"], ["after"]]


def test_what_may_have_done_harm_travels_alone_and_one_at_a_time() -> None:
    groups = waiting(2, suspect_s=0.001)
    groups.doubt([task("first"), task("second")])
    one = groups.take(1)
    assert one is not None
    assert (one.is_doubtful, names(one)) == (True, ["first"])
    # The others need not wait for what comes of it.
    other = groups.take(1, may_be_doubtful=False)
    assert other is not None
    assert (other.is_doubtful, names(other)) == (False, ["0", "1"])
    assert groups.take(1, may_be_doubtful=False) is None
    assert taken(groups) == [["second"]]
