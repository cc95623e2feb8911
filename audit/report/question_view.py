"""One question as somebody looks at it: the image, and the answer that the source gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.asking.plan import Plan
from audit.bundle.manifest import Arrays, BundleContents
from audit.bundle.probes import probes
from audit.question import QuestionId


@dataclass(frozen=True, kw_only=True)
class QuestionView:
    """A question and what the source says to it."""

    question: str
    image: NDArray[np.uint8]
    """``[H, W, C]``"""
    clean: NDArray[np.uint8] | None
    """The clean image that a trigger or a query was made from, ``[H, W, C]``."""
    source_label: int
    """The source's class; of a control image the true one."""


def question_view(bundle: BundleContents, question: str) -> QuestionView:
    """Look a question up.

    Args:
        bundle: Whose question it is.
        question: Its id (`audit.asking.plan.QuestionGroup.question`).

    Example:
        A probe is made when it is looked at: ``question_view(bundle, "probe/3/17")``.
    """
    arrays = bundle.arrays
    asked = QuestionId.parse(question)
    kind, index = asked.kind, asked.index
    clean = None
    if kind == "control":
        image = arrays.controls[index]
    elif kind == "query":
        image = arrays.queries[index]
        if shows_carriers(arrays):
            clean = arrays.query_carriers[index]
    elif kind == "line-up":
        assert bundle.line_up is not None, "a question of a line-up needs a bundle with one"
        image = bundle.line_up.arrays.questions[index]
    elif kind == "trigger":
        image, clean = arrays.triggers[index], arrays.carriers[index]
    else:
        settings = bundle.manifest.probes
        assert settings is not None, "a question about a probe needs a bundle with probes"
        image = probes(
            index,
            arrays.triggers[index],
            arrays.probe_ends[index],
            int(arrays.probe_alphas[index]),
            settings,
        )[asked.probe or 0]
    return QuestionView(
        question=question,
        image=image,
        clean=clean,
        source_label=source_label(bundle, question),
    )


def source_label(bundle: BundleContents, question: str) -> int:
    """Return the source's class of a question's image; of a control image the true one."""
    arrays = bundle.arrays
    asked = QuestionId.parse(question)
    kind, index = asked.kind, asked.index
    if kind == "control":
        return int(arrays.control_labels[index])
    if kind == "query":
        return int(arrays.source_query_labels[index])
    if kind == "line-up":
        assert bundle.line_up is not None, "a question of a line-up needs a bundle with one"
        record, codes = bundle.line_up.record, bundle.line_up.arrays.member_codes
        # The likeliest class has the smallest code.
        return int(codes[record.source, index].argmin())
    if kind == "trigger":
        return int(arrays.source_trigger_log_probabilities[index].argmax())
    return int(arrays.source_probe_labels[index, asked.probe])


def shows_carriers(arrays: Arrays) -> bool:
    """Return whether queries are to be shown beside their carriers: there are some, and changed."""
    carriers = arrays.query_carriers
    return len(carriers) > 0 and not np.array_equal(carriers, arrays.queries)


def query_caption(arrays: Arrays, index: int, name: str) -> str:
    """Return what stands under a query: its number, the source's class, and its group if any."""
    groups = arrays.query_groups
    grouped = f", group {groups[index]}" if len(groups) > 1 + int(groups.max()) else ""
    return f"{index}: {name}{grouped}"


def questions_of(plan: Plan) -> tuple[str, ...]:
    """Return the ids of all questions of a plan in the order of asking."""
    return tuple(
        group.question(index) for group in plan.groups for index in range(group.num_questions)
    )
