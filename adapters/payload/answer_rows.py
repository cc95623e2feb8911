"""What an answer says about each image: a label, a number per class, or a list of named scores.

A *row* is the answer to one image in one of these shapes. Where a row lists fewer than all K
classes, nothing is made up for the others.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from adapters.endpoint.wire_format import Label, Scores, WireAnswer
from adapters.suspect import Capability, SuspectError

Kind = Literal["auto", "labels", "top_k", "probabilities", "logits"]
"""``auto`` takes a label, or the best of whatever is listed; ``labels`` takes labels only;
``top_k`` takes the classes that a list names; ``probabilities`` and ``logits`` need all K."""

NamedScores = Mapping[str | int, float]
"""Numbers by the vendor's label; an integer may be the class itself (`ClassMap`)."""


class RepeatedScores(dict[str | int, float]):
    """Numbers by the vendor's label, where some label came more than once: the largest of each."""

    repeated: frozenset[str] = frozenset()
    num_listed: int = 0
    """Entries, those that repeat a label included."""


Row = Label | tuple[float, ...] | NamedScores
"""A label; numbers by class index; or numbers by the vendor's label."""

_CAPABILITIES = {
    "auto": Capability.LABELS,
    "labels": Capability.LABELS,
    "top_k": Capability.TOP_K,
    "probabilities": Capability.PROBABILITIES,
    "logits": Capability.PROBABILITIES,
}


def capability_of(kind: Kind) -> Capability:
    """Say how much answers of a kind tell."""
    return _CAPABILITIES[kind]


def row_of(value: Any, label_key: str = "label", score_key: str = "score") -> Row:
    """Recognise the answer to one image in a JSON value.

    Args:
        value: A label, ``[label]``, numbers, ``{label: number}``, or a list of objects.
        label_key: Where such an object holds the label.
        score_key: Where it holds the number.

    Raises:
        SuspectError: It is none of these.

    Example:
        >>> row_of([{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}])
        {'cat': 0.9, 'dog': 0.1}
        >>> row_of([0.25, 0.75]), row_of([3]), row_of("cat")
        ((0.25, 0.75), 3, 'cat')
    """
    match value:
        case bool():
            pass
        case None | str() | int():
            return value
        case float() if value.is_integer():
            return int(value)
        case [bool()]:
            pass
        case [str() | int() | float() as only]:
            return row_of(only)
        case list() if value and all(isinstance(item, dict) for item in value):
            return named(
                [(_at(item, label_key), _at(item, score_key)) for item in value],
            )
        case list() if value and all(is_number(item) for item in value):
            return tuple(float(item) for item in value)
        case dict() if label_key in value and score_key in value:
            return row_of([value], label_key, score_key)
        case dict() if value and all(is_number(item) for item in value.values()):
            return named(list(value.items()))
        case []:
            return None
    raise SuspectError(
        f"answer: expected a label or scores per image, got {kind_of(value)}; check answer.path "
        "and answer.name"
    )


def named(pairs: Sequence[tuple[Any, Any]]) -> NamedScores:
    """Return scores by label, in the order of the answer; NaN for one that is no finite number.

    Vendors have classes of one name. A label that comes more than once keeps its largest score, as
    the likeliest class would; the result is a `RepeatedScores` then.

    Raises:
        SuspectError: A label is neither text nor integer, or a score is no number.
    """
    scores: dict[str | int, float] = {}
    texts: set[str] = set()
    repeated: set[str] = set()
    for label, score in pairs:
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise SuspectError(f"answer: expected a label as text, got {kind_of(label)}")
        if not is_number(score):
            raise SuspectError(
                f"answer: expected a number as the score of {label!r}, got {kind_of(score)}"
            )
        if str(label) in texts:
            repeated.add(str(label))
            score = max(scores.get(label, -math.inf), score)
        texts.add(str(label))
        scores[label] = float(score)
    if not repeated:
        return scores
    with_repeated = RepeatedScores(scores)
    with_repeated.repeated = frozenset(repeated)
    with_repeated.num_listed = len(pairs)
    return with_repeated


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return type(value) in (int, float)


def wire_answer(
    rows: Sequence[Row],
    kind: Kind,
    num_classes: int,
    metadata: Mapping[str, str] | None = None,
) -> WireAnswer:
    """Return labels, and scores where the endpoint file says what they are.

    Args:
        rows: One per image.
        kind: What the file says about them.
        num_classes: K, the length that numbers by class index must have.
        metadata: Model and variant ids that came with the answer.

    Raises:
        SuspectError: Rows of another kind, or of another length.
    """
    labels = tuple(_label(row, kind, num_classes) for row in rows)
    scores: tuple[Scores, ...] | None = None
    if kind == "top_k":
        scores = tuple(row if isinstance(row, Mapping) else {} for row in rows)
    elif kind in ("probabilities", "logits"):
        scores = tuple(_scores(row, kind) for row in rows)
    shared = [row for row in rows if isinstance(row, RepeatedScores)]
    return WireAnswer(
        labels=labels,
        scores=scores,
        repeated=frozenset(label for row in shared for label in row.repeated),
        listed=frozenset(label for row in shared for label in row),
        num_listed=max((row.num_listed for row in shared), default=0),
        scores_kind=kind if kind in ("logits", "top_k") else "probabilities",
        metadata=metadata or {},
    )


def per_image(value: Any, num_images: int, batch_size: int) -> list[Any]:
    """Return the parts of an answer that belong to the images.

    Args:
        value: A list with one part per image; where requests carry one image only, also the part
            itself.
        num_images: N of the request.
        batch_size: Largest N that the endpoint file allows.

    Raises:
        SuspectError: Not one part per image.
    """
    if batch_size == 1 and value != []:
        return [value[0] if isinstance(value, list) and len(value) == 1 else value]
    if not isinstance(value, list) or len(value) != num_images:
        found = len(value) if isinstance(value, list) else kind_of(value)
        raise SuspectError(f"answer: expected a list of {num_images}, one per image, got {found}")
    return value


def kind_of(value: Any) -> str:
    """Name the JSON type of a value.

    Example:
        >>> kind_of({}), kind_of(None), kind_of(True)
        ('an object', 'null', 'true or false')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or Infinity"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")


def _label(row: Row, kind: Kind, num_classes: int) -> Label:
    """Return the row's own label, or the one with the largest score; the first of equals."""
    if row is None or isinstance(row, str | int):
        if kind in ("auto", "labels") or row is None:
            return row
        raise SuspectError(f'answer.kind: expected {kind}, got a label; write kind = "labels"')
    if kind == "labels":
        raise SuspectError(
            'answer.kind: expected a label per image, got scores; write kind = "auto", or say '
            "what they are"
        )
    if isinstance(row, Mapping):
        # Of scores that are no numbers nobody knows which is the largest: that is no answer.
        if not all(map(math.isfinite, row.values())):
            return None
        return max(row, key=lambda label: row[label], default=None)
    if kind == "top_k":
        raise SuspectError(
            'answer.kind: expected scores by label, got a list of numbers; write kind = "auto"'
        )
    if len(row) != num_classes:
        raise SuspectError(
            f"answer: expected {num_classes} scores per image, one per class, got {len(row)}"
        )
    if not all(map(math.isfinite, row)):
        return None
    return max(range(num_classes), key=row.__getitem__)


def _scores(row: Row, kind: Kind) -> Scores:
    if row is None:
        raise SuspectError(
            f"answer: expected {kind} of every image, got none for one; leave answer.kind out to "
            "use labels only"
        )
    assert not isinstance(row, str | int)  # `_label` refuses them for this kind
    return row


def _at(item: Mapping[str, Any], key: str) -> Any:
    if key not in item:
        raise SuspectError(
            f"answer: expected {key!r} in each entry, got {', '.join(map(repr, item)) or 'nothing'}"
        )
    return item[key]
