"""From a vendor's labels and scores to the bundle's classes.

A label that is not in the map is an error: guessing would turn into a verdict. Vendors call several
classes by one name, too; these are merged for the audit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.class_words import WordReader, WordRules
from adapters.suspect import REFUSED, OtherTaskError, SuspectConfigError, SuspectError

MIN_PROBABILITY = 1e-12
"""Stands for a probability that the vendor rounded to 0, so that its logarithm is finite."""

Label = str | int | None
"""What a vendor calls a class: a name, an index, or nothing (a refusal)."""

Scores = tuple[float, ...] | Mapping[str, float] | Mapping[str | int, float]
"""Probabilities of one image: by class index, or by the vendor's label."""

Groups = tuple[tuple[int, ...], ...]
"""Classes that count as one; within a group they rise, and no class is in two."""

SUM_TOLERANCE = 0.05
"""How far from 1 the K probabilities of an image may add up to (vendors round to 2-4 digits)."""


class UnknownLabelError(SuspectError):
    """The vendor named something that is none of the classes."""

    def __init__(self, message: str, label: Label = None) -> None:
        """Say what, and what can be done.

        Args:
            message: In words.
            label: What it named.
        """
        super().__init__(message)
        self.label = label


class SharedNameError(SuspectConfigError):
    """The vendor calls several classes by one name, so that they have to be merged."""

    def __init__(self, message: str, groups: Groups) -> None:
        """Say so.

        Args:
            message: Which ones, and what can be written instead.
            groups: The classes that share a name; none where nobody knows them all.
        """
        super().__init__(message)
        self.groups = groups


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """The bundle's class of each of the vendor's labels."""

    names: tuple[str, ...]
    """The bundle's classes, as a message may call them; K of them."""
    classes: Mapping[str, int]
    """Vendor's label -> class 0..K-1, at least one label for each class; of classes that share one
    the first."""
    accepts_index: bool
    """Whether an integer is the class itself; otherwise it is looked up as text."""
    refusals: frozenset[str] = frozenset()
    """Labels that mean none of the classes."""
    shared: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Classes that one label stands for, rising, where there are several."""
    merged: Groups = ()
    """Classes that count as one, each group by its first."""
    absent: tuple[int, ...] = ()
    """Classes that the vendor does not have, rising; no label stands for one."""
    places: tuple[int, ...] = ()
    """The class of each number, where numbers are places in a list that lacks the absent ones."""
    words: WordReader | None = field(default=None, compare=False)
    """Reads labels that come as words; absent where they have to be as the map has them."""

    @property
    def num_classes(self) -> int:
        """Return K."""
        return len(self.names)

    @property
    def num_told(self) -> int:
        """Return how many numbers or scores by number the vendor tells: K unless it lacks some."""
        return len(self.places) or self.num_classes

    def merging(self, groups: Groups) -> "ClassMap":
        """Return the map with classes merged that share a name."""
        first = {index: group[0] for group in groups for index in group}
        classes = {label: first.get(index, index) for label, index in self.classes.items()}
        return replace(self, classes=classes, merged=groups)

    def reading(self, rules: WordRules) -> "ClassMap":
        """Return the map for labels that come as words.

        Raises:
            SuspectConfigError: A name would stand for two classes.
        """
        labels = {**dict.fromkeys(self.refusals, REFUSED), **self.classes}
        words = WordReader(rules, labels, self.names, accepts_index=self.accepts_index)
        return replace(self, words=words)

    def class_of(self, label: Label) -> int:
        """Return the class, or `REFUSED` where the vendor gave none.

        Raises:
            UnknownLabelError: The label is not in the map.
            SharedNameError: It stands for several classes, which are not merged.
            SuspectConfigError: It is a class that the vendor is said not to have.
        """
        if label is None or label == "" or str(label) in self.refusals:
            return REFUSED
        if isinstance(label, int) and self.accepts_index:
            if 0 <= label < self.num_told:
                return self._merged_index(self._require_there(self._place(label)))
            raise UnknownLabelError(
                f"label: expected a class from 0 to {self.num_told - 1}, got {label}; "
                "check class_names",
                label,
            )
        text = str(label)
        if text in (self.names[index] for index in self.absent) and text not in self.classes:
            self._require_there(self.names.index(text))
        if text not in self.classes:
            meant = next((name for name in self.classes if _bare(name) == _bare(text)), None)
            advice = (
                f"correct answer.label, add it to class_names, or write refusals = [{text!r}] if "
                "it means none of the classes"
                if meant is None
                else f"it is {meant!r} but for case and blanks, which clean = "
                '["NFKC", "casefold", "strip"] under [answer] passes over where labels may be '
                "words, and class_names elsewhere"
            )
            raise UnknownLabelError(
                f"label: expected one of {_shortened(list(self.classes))}, got {label!r}; {advice}",
                label,
            )
        # With the first name of all, while nothing was paid yet that would have to be asked again.
        if self.shared and not self.merged:
            name, indices = next(iter(self.shared.items()))
            raise SharedNameError(
                f"class_names: {name!r} stands for {len(indices)} classes, and the vendor answers "
                "with names; such classes can only be audited as one",
                tuple(sorted(self.shared.values())),
            )
        return self.classes[text]

    def require_apart(
        self, repeated: Collection[str], listed: Collection[Label], num_listed: int
    ) -> None:
        """Refuse an answer that names one label several times, unless its classes are merged.

        Args:
            repeated: Labels that came more than once for one image.
            listed: All labels of that image, each once.
            num_listed: Entries of that image, those that repeat a label included.

        Raises:
            SharedNameError: They are not; with their groups if the answer shows which they are.
        """
        merged = {index for group in self.merged for index in group}
        open_ones = [name for name in repeated if self.classes.get(name) not in merged]
        if not open_ones:
            return
        told = {str(label) for label in listed}
        named = {index for label, index in self.classes.items() if label in told}
        # Where all K are listed, those that no label names must be what the others repeat.
        is_whole = num_listed == self.num_classes
        unnamed = [index for index in range(self.num_classes) if is_whole and index not in named]
        groups: Groups = ()
        if len(open_ones) == 1 and unnamed and open_ones[0] in self.classes:
            groups = (tuple(sorted({self.classes[open_ones[0]], *unnamed})),)
        missing = ", ".join(repr(self.names[index]) for index in unnamed[:5])
        raise SharedNameError(
            f"class_names: an answer names {open_ones[0]!r} more than once"
            + (f" and never {missing}" if missing else "")
            + "; write it in class_names for each class that it stands for, and they are merged "
            "for the audit",
            groups,
        )

    def _place(self, number: int) -> int:
        return self.places[number] if self.places else number

    def _require_there(self, index: int) -> int:
        if index in self.absent:
            raise SuspectConfigError(
                f"absent_classes: expected no answer of {self.names[index]!r}, got one; the "
                "suspect has this class, so leave it out of absent_classes"
            )
        return index

    def _merged_index(self, index: int) -> int:
        return next((group[0] for group in self.merged if index in group), index)

    def in_order(self, order: Sequence[int], *, by_index: bool) -> dict[str, int]:
        """Return the class of each of the vendor's labels if the vendor has another order.

        Args:
            order: The class that this map gives now to what is really class 0, 1, ...
            by_index: The vendor answers with integers.
        """
        if by_index and self.accepts_index:
            return {str(given): actual for actual, given in enumerate(order)}
        actual_of = {given: actual for actual, given in enumerate(order)}
        return {label: actual_of[index] for label, index in self.classes.items()}

    def told_log_probabilities(self, scores: Scores) -> NDArray[np.float64]:
        """Return the natural logarithms of those probabilities that an answer names, ``[K]``.

        Labels that are not in the map are left out: an endpoint may list more than the bundle has.
        Scores that cannot be probabilities, such as percentages or independent ones, tell nothing
        but the best label.

        Args:
            scores: By the vendor's label.

        Returns:
            NaN for classes that are not named.
        """
        told = np.full(self.num_classes, np.nan)
        named = scores if isinstance(scores, Mapping) else {}
        for label, score in named.items():
            by_index = isinstance(label, int) and self.accepts_index
            index = self.classes.get(str(label), -1)
            if by_index:
                index = self._place(int(label)) if 0 <= int(label) < self.num_told else -1
            if 0 <= index < len(told):
                # Several labels of one class have its probability between them.
                told[index] = score if np.isnan(told[index]) else told[index] + score
        values = list(named.values())
        is_usable = values and np.isfinite(values).all()
        if not is_usable or min(values) < 0 or sum(values) > 1 + SUM_TOLERANCE:
            return np.full(self.num_classes, np.nan)
        return np.asarray(np.log(np.maximum(told, MIN_PROBABILITY)))

    def log_probabilities(
        self, scores: Scores, kind: Literal["probabilities", "logits"] = "probabilities"
    ) -> NDArray[np.float64]:
        """Return the natural logarithms of one image's probabilities ``[K]``.

        Args:
            scores: One number per class.
            kind: What they are; logits ``z`` give ``z - logsumexp(z)``.

        Labels that mean none of the classes, or that the map does not know, are left out, and the
        others share what these had.

        Returns:
            NaN for all of them where a score is no number: nothing is told then but the label.

        Raises:
            SuspectError: Not K probabilities that add up to 1, or not K logits.
        """
        num_classes = self.num_classes
        values = list(scores.values() if isinstance(scores, Mapping) else scores)
        if values and not np.isfinite(values).all():
            return np.full(num_classes, np.nan)
        pairs = scores.items() if isinstance(scores, Mapping) else enumerate(scores)
        # -inf, the logarithm of nothing, joins with any logit.
        nothing = -np.inf if kind == "logits" else 0.0
        joined, is_told = np.full(num_classes, nothing), np.zeros(num_classes, dtype=bool)
        left_out = 0.0
        for label, score in pairs:
            try:
                index = self.class_of(label)
            except UnknownLabelError:
                index = REFUSED
            if index == REFUSED:
                left_out += score if kind == "probabilities" else 0.0
                continue
            is_told[index] = True
            joined[index] = (
                np.logaddexp(joined[index], score) if kind == "logits" else joined[index] + score
            )
        if not is_told.all():
            raise SuspectError(
                f"scores: expected {num_classes} {kind}, got {int(is_told.sum())}; an audit "
                "needs all classes or labels only (leave answer.scores or answer.kind out)"
            )
        probabilities = joined
        if kind == "logits":
            shifted = probabilities - probabilities.max()  # keeps exp from overflowing
            return np.asarray(shifted - np.log(np.exp(shifted).sum()))
        total = float(probabilities.sum()) + left_out
        if min(values) < 0 or abs(total - 1) > SUM_TOLERANCE:
            raise SuspectError(
                f"scores: expected probabilities that add up to 1, got a sum of {total:.4g}; "
                "correct answer.scores or leave it out"
            )
        if left_out:
            probabilities = probabilities / max(float(probabilities.sum()), MIN_PROBABILITY)
        return np.asarray(np.log(np.maximum(probabilities, MIN_PROBABILITY)))


def class_map(
    class_names: Sequence[str] | Mapping[str, int | str] | None,
    bundle_classes: Sequence[str] | None,
    refusals: Sequence[str] = (),
    absent_classes: Sequence[int | str] = (),
) -> ClassMap:
    """Join what the endpoint file says with the bundle's class names.

    Args:
        class_names: The file's field: a label for each class, or the class of each label.
        bundle_classes: The bundle's class names in its order, where a bundle is at hand.
        refusals: Labels that mean none of the classes.
        absent_classes: Classes of the bundle that the suspect does not have, by index or name; a
            list of ``class_names`` leaves them out then.

    Raises:
        OtherTaskError: There are more of one than of the other.
        SuspectConfigError: They do not fit, or classes are named and there is no bundle.
    """
    absent = _absent(absent_classes, bundle_classes)
    if absent and bundle_classes is not None:
        return _map_without(class_names, bundle_classes, refusals, absent)
    if class_names is None:
        if bundle_classes is None:
            raise SuspectConfigError(
                "class_names: expected the vendor's labels in the bundle's order, got nothing"
            )
        class_names = bundle_classes
    named = class_names.values() if isinstance(class_names, Mapping) else range(len(class_names))
    num_named = len(set(named))
    if bundle_classes is not None and num_named != len(bundle_classes):
        raise OtherTaskError(
            f"class_names: expected the bundle's {len(bundle_classes)} classes, got {num_named}"
            + (
                "; name those that the suspect does not have in absent_classes"
                if num_named < len(bundle_classes)
                else ""
            )
        )
    if not isinstance(class_names, Mapping):
        _refuse_reordered(class_names, bundle_classes)
        indices: dict[str, list[int]] = {}
        for index, name in enumerate(class_names):
            indices.setdefault(name, []).append(index)
        return ClassMap(
            names=tuple(bundle_classes or class_names),
            classes={name: found[0] for name, found in indices.items()},
            accepts_index=True,
            refusals=frozenset(refusals),
            shared={name: tuple(found) for name, found in indices.items() if len(found) > 1},
        )
    classes = {label: _index(target, bundle_classes) for label, target in class_names.items()}
    own = {index: label for label, index in classes.items()}
    return ClassMap(
        names=tuple(bundle_classes or (own[index] for index in sorted(own))),
        classes=classes,
        accepts_index=False,
        refusals=frozenset(refusals),
    )


def _absent(
    absent_classes: Sequence[int | str], bundle_classes: Sequence[str] | None
) -> tuple[int, ...]:
    """Return the absent classes by index, rising."""
    if not absent_classes or bundle_classes is None:
        return ()
    num_classes = len(bundle_classes)
    found = sorted({_index(target, bundle_classes) for target in absent_classes})
    if not 0 <= found[0] <= found[-1] < num_classes:
        raise SuspectConfigError(
            f"absent_classes: expected names of the bundle's classes, or 0 to {num_classes - 1}, "
            f"got {found}"
        )
    if 2 * len(found) > num_classes:
        raise OtherTaskError(
            f"absent_classes: expected at most half of the bundle's {num_classes} classes, got "
            f"{len(found)}; too little is left to compare"
        )
    return tuple(found)


def _map_without(
    class_names: Sequence[str] | Mapping[str, int | str] | None,
    bundle_classes: Sequence[str],
    refusals: Sequence[str],
    absent: tuple[int, ...],
) -> ClassMap:
    """Return the map of a suspect that does not have some of the bundle's classes."""
    present = tuple(index for index in range(len(bundle_classes)) if index not in absent)
    by_number = True
    places: tuple[int, ...] = ()
    if isinstance(class_names, Mapping):
        classes = {label: _index(target, bundle_classes) for label, target in class_names.items()}
        by_number = False
    elif class_names is None or list(class_names) == list(bundle_classes):
        # The bundle's own names and numbers, some of which never come.
        classes = {bundle_classes[index]: index for index in present}
    else:
        named = dict.fromkeys(class_names)
        if len(class_names) != len(present) or len(named) != len(present):
            raise OtherTaskError(
                f"class_names: expected a different name for each of the {len(present)} classes "
                f"that are not in absent_classes, got {len(named)}"
            )
        expected = [bundle_classes[index] for index in present]
        if list(class_names) != expected and set(class_names) == set(expected):
            _refuse_reordered(class_names, expected)
        classes, places = dict(zip(class_names, present, strict=True)), present
    if set(classes.values()) != set(present):
        raise OtherTaskError(
            f"class_names: expected labels of the {len(present)} classes that are not in "
            f"absent_classes, and of these only, got {len(set(classes.values()))}"
        )
    return ClassMap(
        names=tuple(bundle_classes),
        classes=classes,
        accepts_index=by_number,
        refusals=frozenset(refusals),
        absent=absent,
        places=places,
    )


def _refuse_reordered(names: Sequence[str], bundle_classes: Sequence[str] | None) -> None:
    if bundle_classes is None or list(names) == list(bundle_classes):
        return
    # A slip, or really the vendor's order: either reading may be wrong, and would be a verdict.
    if set(names) == set(bundle_classes):
        raise SuspectConfigError(
            f"class_names: expected the bundle's order ({_shortened(bundle_classes)}), got the "
            "same names in another one; write a table of vendor's label = bundle's name instead"
        )


def _index(target: int | str, bundle_classes: Sequence[str] | None) -> int:
    if isinstance(target, int):
        return target
    if bundle_classes is None:
        raise SuspectConfigError(
            "class_names: expected class indices, got names and no bundle to look them up in"
        )
    if target not in bundle_classes:
        raise SuspectConfigError(
            f"class_names: expected one of the bundle's {_shortened(bundle_classes)}, "
            f"got {target!r}"
        )
    return list(bundle_classes).index(target)


def _bare(text: str) -> str:
    return text.casefold().strip()


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, ... ({len(names)} in all)"
