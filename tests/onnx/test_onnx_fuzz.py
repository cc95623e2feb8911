"""Whatever is in a file, an audit gets an answer or a `SuspectError`, in time, and nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from worlds.onnx_builders import brightest_channel, endless_loop, with_two_heads
from worlds.onnx_mutations import LIMITS, SLACK_S, Outcome, audit_variant, mutate

NUM_AT_ONCE = 2

MAX_CASE_S = LIMITS.start_timeout_s + 6 * LIMITS.predict_timeout_s + SLACK_S
"""Loading and at most six questions of the trial, each within its limit, seconds."""


def bases() -> list[bytes]:
    models: list[onnx.ModelProto] = [
        brightest_channel(weights_as_inputs=True),
        brightest_channel(tail="probabilities", channels_last=True, shape=("n", 8, 8, 3)),
        with_two_heads(agree=True),
        endless_loop(),
    ]
    models[-1].graph.initializer[0].raw_data = np.int64(3).tobytes()  # a loop that ends
    return [model.SerializeToString() for model in models]


@pytest.mark.parametrize("num_cases", [20, pytest.param(100, marks=pytest.mark.whole)])
def test_broken_files_give_answers_or_suspect_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_cases: int
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    rng = np.random.default_rng(20)
    originals = bases()
    cases: list[tuple[str, Path]] = []
    for index in range(num_cases):
        name, data = mutate(originals[rng.integers(len(originals))], rng)
        cases.append((name, tmp_path / f"{index}.onnx"))
        cases[-1][1].write_bytes(data)
    before = sorted(tmp_path.iterdir())

    def run(case: tuple[str, Path]) -> tuple[Outcome, float]:
        started = time.monotonic()
        outcome = audit_variant(case[0], str(case[1]))
        return outcome, time.monotonic() - started

    with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        results = list(pool.map(run, cases))

    assert max(seconds for _, seconds in results) < MAX_CASE_S
    assert sorted(tmp_path.iterdir()) == before
    assert list(private.iterdir()) == []
    refused = [outcome for outcome, _ in results if not outcome.is_answered]
    assert len(refused) > num_cases / 3
    assert all(": " in outcome.message for outcome in refused)
