"""Line-ups whose members are known to be exchangeable, and suspects that come from one, or none.

Everybody believes something of each question (what the images look like), and each network has
beliefs of its own on top: these are what a student inherits. Nothing else tells members apart.
"""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.answer import Answer
from audit.bundle.line_up import (
    LineUp,
    LineUpArrays,
    LineUpMember,
    LineUpModel,
    LineUpRecord,
    encode,
)
from audit.bundle.manifest import BundleContents, Steps
from worlds.audit_world import NUM_CONTROLS, NUM_QUERIES, K, known_bundle, tagged

LINE_UP_TAG = 4
"""Images of a line-up's questions, beside `worlds.audit_world.QUERY` and the others."""
OWN = 1.5
"""How much networks differ, in the logits of what everybody believes."""


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class LineUpWorld:
    """One draw of a source, its siblings, a panel, and whoever may be suspected."""

    def __init__(
        self,
        *,
        num_siblings: int = 19,
        num_questions: int = 200,
        num_panel: int = 20,
        num_derived: int = 10,
        source: int = 0,
        seed: int = 0,
        form: str = "ranks",
        lead_bound: float = 15.0,
        better_source: float = 0.0,
    ) -> None:
        self._random = np.random.default_rng(seed)
        num_members = num_siblings + 1
        self.believed = self._random.normal(size=(num_questions, K)) * 2
        self.members = self.believed + self._own(num_members)
        panel = self.believed + self._own(num_panel)
        derived = self.members[source] + 0.5 * self._own(num_derived)
        models = np.concatenate([panel, derived])
        controls = self._control_logits(num_members)
        controls[source, np.arange(NUM_CONTROLS), np.arange(NUM_CONTROLS) % K] += better_source
        record = LineUpRecord(
            made_by="command",
            made_how="python train.py --seed {seed} --out {weights}",
            seed_commitment="ab" * 32,
            source=source,
            members=tuple(
                LineUpMember(name=f"member-{i}", weights_sha256=_digest(f"m{i}"), seed=i)
                for i in range(num_members)
            ),
            models=tuple(
                LineUpModel(
                    name=f"{role}-{i}",
                    role=role,  # type: ignore[arg-type]  # one of the two
                    kind="stranger" if role == "innocent" else "student",
                    lineage=f"{role}-{i}",
                    provenance="made up",
                    weights_sha256=_digest(f"{role}{i}"),
                )
                for role, num in (("innocent", num_panel), ("derived", num_derived))
                for i in range(num)
            ),
            form=form,  # type: ignore[arg-type]  # one of the two
            epsilon=0.02,
            lead_bound=lead_bound,
            arrays={},
            arrays_file_sha256="0" * 64,
        )
        self.line_up = LineUp(
            record=record,
            arrays=LineUpArrays(
                questions=tagged(LINE_UP_TAG, num_questions),
                member_codes=encode(log_softmax(self.members)),
                member_control_codes=encode(log_softmax(controls)),
                model_labels=models.argmax(axis=-1),
                model_codes=encode(log_softmax(models)),
            ),
        )

    @property
    def bundle(self) -> BundleContents:
        """The known bundle, with this line-up."""
        known = known_bundle(alpha=0.05, beta=0.1, line_up=self.line_up.record)
        return BundleContents(
            manifest=known.manifest,
            arrays=known.arrays,
            manifest_sha256=known.manifest_sha256,
            signer_key_id=known.signer_key_id,
            line_up=self.line_up,
        )

    @property
    def stepped(self) -> BundleContents:
        """The same, asked in two steps: levels of 0.1 for 9 lineages and 0.05 for 19 siblings."""
        whole, steps = self.bundle, Steps(crafted_alpha=0.1, line_up_alpha=0.05)
        manifest = whole.manifest.model_copy(update={"alpha": 0.1, "steps": steps})
        return replace(whole, manifest=manifest)

    def innocent(self) -> NDArray[np.float64]:
        """Log-probabilities of one that knows of no member, ``[L, K]``."""
        return log_softmax(self.believed + self._own(1)[0])

    def derived(self, member: int, *, noise: float = 0.5) -> NDArray[np.float64]:
        """The same of a student of one of the members."""
        return log_softmax(self.members[member] + noise * self._own(1)[0])

    def _own(self, num: int) -> NDArray[np.float64]:
        return OWN * self._random.normal(size=(num, *self.believed.shape))

    def _control_logits(self, num_members: int) -> NDArray[np.float64]:
        logits = self._random.normal(size=(num_members, NUM_CONTROLS, K))
        logits[:, np.arange(NUM_CONTROLS), np.arange(NUM_CONTROLS) % K] += 2
        return logits


def line_up_answers(
    log_probabilities: NDArray[np.float64], *, labels_only: bool = True, num: int | None = None
) -> dict[str, Answer]:
    """Right answers to the controls, and these to the line-up's questions, by question id."""
    answers = {
        f"control/{i}": Answer(label=i % K, log_probabilities=None) for i in range(NUM_CONTROLS)
    }
    for i, row in enumerate(log_probabilities[:num]):
        answers[f"line-up/{i}"] = Answer(
            label=int(row.argmax()), log_probabilities=None if labels_only else row
        )
    return answers


def stepped_answers(
    log_probabilities: NDArray[np.float64], *, query_label: int, labels_only: bool = True
) -> dict[str, Answer]:
    """The same, with one class for all crafted queries: 0 is a copy's, 1 an innocent's."""
    queries = {
        f"query/{i}": Answer(label=query_label, log_probabilities=None) for i in range(NUM_QUERIES)
    }
    return {**queries, **line_up_answers(log_probabilities, labels_only=labels_only)}


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
