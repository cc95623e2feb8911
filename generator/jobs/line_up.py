"""A run of ``kinprint lineup``: a bundle, siblings and images in, the bundle with a line-up out.

    siblings -> their answers -> questions -> panel and derived models -> bound -> fairness

Who is the source is asked for by the last step alone: everything before it treats all members
alike, so that the source's rank among them is a p-value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import SuspectError
from audit.bundle.line_up import (
    LineUp,
    LineUpArrays,
    LineUpModel,
    LineUpRecord,
    encode,
)
from audit.bundle.line_up_consistency import check_line_up
from audit.bundle.line_up_fairness import check_fairness
from audit.bundle.manifest import BundleContents
from audit.calibrating.model_folder import PanelRefusal, model_files, open_panel
from audit.errors import BundleError
from audit.verdict.p_values import innocents_needed
from generator.crafting.line_up_bound import choose_bound
from generator.crafting.line_up_questions import choose_questions
from generator.errors import GenerationError
from generator.jobs.line_up_images import check_unseen, usable_images
from generator.jobs.line_up_members import Members, ask_members
from generator.sources.torch_suspect import answer_all

_SOURCE = 0
"""The source's place among the members (`generator.jobs.line_up_members`)."""


@dataclass(frozen=True, kw_only=True)
class LineUpSettings:
    """What an owner chooses about a line-up."""

    num_questions: int = 1000
    """Largest number of questions."""
    form: Literal["ranks", "logarithms"] = "logarithms"
    epsilon: float = 0.02
    """Of the form ``logarithms``."""
    ranks_among_innocents: bool = False
    """Make a line-up that is not fair, or too small for alpha: then it only ranks the lead among
    the panel's networks."""


def make_line_up(
    bundle: BundleContents,
    members: Members,
    images: NDArray[np.uint8],
    panel_folder: Path,
    derived_folder: Path | None,
    settings: LineUpSettings,
    *,
    trained_on: NDArray[np.uint8] | None = None,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
    tell: Callable[[str], None] = lambda text: None,
) -> LineUp:
    """Make a bundle's line-up.

    Args:
        bundle: Says what the source is, and has the control images.
        members: Source and siblings.
        images: Natural images that no member was trained on, ``[N, H, W, C]``.
        panel_folder: ONNX files of innocents; a folder in it names a kind, one in that a lineage.
        derived_folder: ONNX files of models made from the source, in the same way; None without.
        settings: See `LineUpSettings`.
        trained_on: Images that members were trained on, to be kept out.
        report: Progress by stage.
        tell: Says what an owner should know on the way.

    Raises:
        GenerationError: Too few siblings for alpha, one that failed to train, images that do not
            fit or that the source was trained on, or a line-up that is not fair.
        AuditError: A folder of models cannot be used.
    """
    check_size(bundle.manifest.alpha, len(members.siblings), settings)
    images = usable_images(bundle, images, trained_on, tell)
    records, codes, control_codes = ask_members(bundle, members, images, report)
    check_unseen(codes, control_codes, _SOURCE, tell)
    chosen = choose_questions(
        codes,
        images,
        num_questions=settings.num_questions,
        seed=members.seed_commitment or "",
    )
    questions = images[chosen]
    models, labels, model_codes = _ask_models(
        bundle, questions, panel_folder, derived_folder, report, tell
    )
    record = LineUpRecord(
        made_by=members.made_by,
        made_how=members.made_how,
        seed_commitment=members.seed_commitment,
        seed_from=members.seed_from,
        source=_SOURCE,
        members=tuple(records),
        models=tuple(models),
        form=settings.form,
        epsilon=settings.epsilon,
        lead_bound=1.0,
        arrays={},
        arrays_file_sha256="0" * 64,
    )
    arrays = LineUpArrays(
        questions=questions,
        member_codes=codes[:, chosen],
        member_control_codes=control_codes,
        model_labels=labels,
        model_codes=model_codes,
    )
    shape = bundle.manifest.task
    sizes = {
        "height": shape.height,
        "width": shape.width,
        "channels": shape.channels,
        "K": shape.num_classes,
        "C": len(bundle.arrays.controls),
    }
    try:
        check_line_up(record, arrays, sizes)
    except BundleError as error:
        raise GenerationError(str(error)) from error
    bound = choose_bound(LineUp(record=record, arrays=arrays))
    line_up = LineUp(record=record.model_copy(update={"lead_bound": bound}), arrays=arrays)
    fairness = check_fairness(line_up, bundle.arrays.control_labels)
    if fairness.reason is not None and not settings.ranks_among_innocents:
        raise GenerationError(
            f"siblings: {fairness.reason}; train them exactly as the source was, or take "
            "--rank-among-innocents, with which the line-up gives no p-value of its own"
        )
    return line_up


def check_size(alpha: float, num_siblings: int, settings: LineUpSettings) -> None:
    """Refuse siblings that are too few for a rate, before any is trained.

    Raises:
        GenerationError: Says which p-value they can give.
    """
    needed = innocents_needed(alpha)
    if num_siblings < needed and not settings.ranks_among_innocents:
        raise GenerationError(
            f"siblings: the bundle's alpha {alpha:g} needs {needed}, {num_siblings} can give "
            f"p = {1 / (num_siblings + 1):.3g} at best; make more, or take "
            "--rank-among-innocents, which ranks the lead among the panel's networks"
        )
    if num_siblings < 1:
        raise GenerationError("siblings: expected at least 1, got none")


def _ask_models(
    bundle: BundleContents,
    questions: NDArray[np.uint8],
    panel_folder: Path,
    derived_folder: Path | None,
    report: Callable[[str, int, int], None],
    tell: Callable[[str], None],
) -> tuple[list[LineUpModel], NDArray[np.int64], NDArray[np.uint8]]:
    folders: list[tuple[Literal["innocent", "derived"], Path]] = [("innocent", panel_folder)]
    if derived_folder is not None:
        folders.append(("derived", derived_folder))
    records, labels, codes = [], [], []
    for role, folder in folders:
        paths = model_files(folder)
        for number, (path, suspect) in enumerate(open_panel(bundle, paths), start=1):
            report(f"{role} models", number, len(paths))
            try:
                if isinstance(suspect, PanelRefusal):
                    raise SuspectError(suspect.reason)
                answers = answer_all(suspect, questions)
            except SuspectError as error:
                tell(f"Left out {path}: {error}")
                continue
            records.append(_model_record(role, path, folder, suspect.identity.digest))
            labels.append(answers.argmax(axis=1))
            codes.append(encode(answers))
    num_questions, num_classes = len(questions), bundle.manifest.task.num_classes
    return (
        records,
        np.array(labels, dtype=np.int64).reshape(-1, num_questions),
        np.array(codes, dtype=np.uint8).reshape(-1, num_questions, num_classes),
    )


def _model_record(
    role: Literal["innocent", "derived"], path: Path, folder: Path, digest: str
) -> LineUpModel:
    kind, *lineage = path.relative_to(folder).parent.parts or ("given",)
    return LineUpModel(
        name=path.stem,
        role=role,
        kind=kind,
        # Files in one folder of a kind come from one network; alone, each is a network.
        lineage="/".join((kind, *lineage)) if lineage else f"{kind}/{path.stem}",
        provenance=f"ONNX file {path.name} given by the owner",
        weights_sha256=digest,
    )
