"""A question in words, for the panel beside its image."""

from adapters.suspect import REFUSED
from audit.bundle.manifest import BundleContents, class_name
from audit.question import QuestionId
from audit.report.question_view import question_view
from audit.tui.widgets.image_pair import Looked

_NAMES = {
    "control": "control image",
    "query": "query",
    "trigger": "trigger",
    "probe": "probe",
    "line-up": "line-up image",
}


def looked_at(bundle: BundleContents, question: str, label: int | None) -> Looked:
    """Look a question up.

    Args:
        bundle: Whose question it is.
        question: Its id.
        label: The suspect's answer; None if there is none yet.
    """
    view = question_view(bundle, question)
    asked = QuestionId.parse(question)
    number = str(asked.index) if asked.probe is None else f"{asked.index}/{asked.probe}"
    again = ", again" if asked.is_again else ""
    is_control = asked.kind == "control"
    source = class_name(bundle, view.source_label)
    if label is None:
        told = "Not asked yet."
    elif label == REFUSED:
        told = "! no class given"
    elif is_control:
        told = "■ right" if label == view.source_label else "x wrong"
    else:
        told = "■ like the source" if label == view.source_label else "□ unlike the source"
    return Looked(
        title=f"{_NAMES[asked.kind]} {number}{again}",
        image=view.image,
        source=f"{source} (true class)" if is_control else source,
        suspect="not asked yet" if label is None else class_name(bundle, label),
        told=told,
    )
