"""Choosing tau on the models that calibrate, and on no others."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import (
    NUM_CONTROLS,
    NUM_MODELS,
    NUM_QUERIES,
    NUM_TRIGGERS,
    K,
    known_bundle,
)

from audit.bundle.manifest import BundleContents
from audit.calibrating.model_folder import PanelAnswers
from audit.calibrating.recalibrate import NewModel, Role, recalibrate
from audit.calibrating.tau_choice import choose_tau

SOURCE_LOSS = -np.log(0.8)


def with_losses(
    derived: float | NDArray[np.float64], innocent: float, tau: float = 0.5
) -> BundleContents:
    """A bundle in which models' losses are these multiples of the source's; probes say nothing."""
    base = known_bundle(tau=tau)
    ones = np.ones((NUM_MODELS, NUM_TRIGGERS))
    losses = SOURCE_LOSS * np.concatenate([innocent * ones, derived * ones])
    hits = np.zeros_like(base.arrays.model_probe_hits)
    return dataclasses.replace(
        base,
        arrays=dataclasses.replace(base.arrays, model_trigger_losses=losses, model_probe_hits=hits),
    )


def chosen(bundle: BundleContents) -> tuple[float, float, float]:
    found = choose_tau(bundle.manifest, bundle.arrays)
    assert found is not None
    return found.tau, found.auc, found.auc_before


def test_a_narrower_interval_is_taken_where_innocents_come_near() -> None:
    # Derived losses at 1.05 L, innocent ones at 1.4 L: tau = 0.5 takes both in, 0.1 and 0.25 only
    # the derived ones. Of the two, 0.25 is nearer to 0.5. The score from probes cannot tell
    # (AUC 1/2), so that the mean is (1 + 1/2) / 2.
    assert chosen(with_losses(1.05, 1.4)) == (0.25, 0.75, 0.5)


def test_a_wider_interval_is_taken_where_removals_move_the_loss() -> None:
    assert chosen(with_losses(1.7, 3.0)) == (0.75, 0.75, 0.5)


def test_the_present_tau_stays_where_nothing_is_better() -> None:
    assert chosen(with_losses(1.0, 9.0, tau=0.3))[0] == 0.3


@pytest.mark.parametrize("role", ["innocent", "derived"])
def test_models_of_one_role_choose_nothing(role: str) -> None:
    bundle = known_bundle()
    models = tuple(one.model_copy(update={"role": role}) for one in bundle.manifest.models)

    manifest = bundle.manifest.model_copy(update={"models": models})

    assert choose_tau(manifest, bundle.arrays) is None


def new_innocent(number: int, loss: float) -> NewModel:
    role: Role = "innocent"
    return NewModel(
        role=role,
        stratum="new",
        lineage=None,
        answers=PanelAnswers(
            name=f"new-{number}",
            path=Path(f"new-{number}.onnx"),
            digest=f"{number:064x}",
            control_accuracy=1.0,
            control_labels=np.arange(NUM_CONTROLS) % K,
            query_labels=np.ones(NUM_QUERIES, np.int64),
            query_log_probabilities=np.empty((0, K)),
            ranking=np.empty((NUM_QUERIES, 0), np.int64),
            trigger_losses=np.full(NUM_TRIGGERS, loss * SOURCE_LOSS),
            probe_hits=np.zeros(NUM_TRIGGERS, np.int64),
        ),
    )


def test_models_that_are_held_out_do_not_choose() -> None:
    """Two of four new innocents lie where only a narrow tau tells them from derived models."""
    bundle = with_losses(1.05, 9.0)
    # Digests decide who reports: the two smaller ones.
    near_report = [new_innocent(number, 1.4 if number < 2 else 9.0) for number in range(4)]
    near_calibrate = [new_innocent(number, 1.4 if number >= 2 else 9.0) for number in range(4)]

    taus = [
        recalibrate(
            bundle,
            models,
            alpha=None,
            beta=None,
            report_share=0.5,
            created="2026-01-01T00:00:00Z",
        ).manifest.tau
        for models in (near_report, near_calibrate)
    ]

    assert taus == [0.5, 0.25]
