import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.in_process import Done, run

import kinprint
from adapters.python.returned import read_returned
from adapters.suspect import SuspectError, SuspectUnreachableError
from audit.suspects.opening import open_function
from audit.verdict.outcome import Verdict

DATA = Path(__file__).parents[1] / "data"
BUNDLE, KEY = DATA / "audited.kinprint", DATA / "small.pub"

CLIENT = """\
import os
import sys
import time
from pathlib import Path

import numpy as np

print("loaded")
table = np.load(Path(__file__).with_name("seen.npz"))
NAMES = ["cat", "dog", "frog", "ship"]
SEEN = {image.tobytes(): int(label) for image, label in zip(table["images"], table["labels"])}
CALLS = Path(__file__).with_name("calls")


def numbers(images):
    with CALLS.open("a") as file:
        file.write(f"{len(images)}\\n")
    print("asked about", images.shape)
    os.system("echo from another program")
    assert images.dtype == np.uint8
    assert sys.stdin.read() == ""
    return np.array([SEEN.get(image.tobytes(), 0) for image in images])


def names(images):
    return [NAMES[label] for label in numbers(images)]


def rows(images):
    return np.eye(4)[numbers(images)]


def logits(images):
    return 1000 * rows(images)


def changed(images):
    images[:] = 0
    return numbers(images)


def later(images):
    if CALLS.exists() and len(CALLS.read_text().splitlines()) == 5:
        with CALLS.open("a") as file:
            file.write("-\\n")
        raise ConnectionError("\\x1b[31mvendor is away")
    return numbers(images)


def forever(images):
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    time.sleep(1000)


def dies(images):
    print("out of luck", flush=True)
    os.abort()


def leaves(images):
    sys.exit(3)


def lorry(images):
    return ["lorry"] * len(images)


def negative(images):
    return rows(images) - 0.25


def narrow(images):
    return rows(images)[:, :2]
"""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    arrays = kinprint.open_bundle(BUNDLE, trust=KEY).arrays
    np.savez(
        tmp_path / "seen.npz",
        images=np.concatenate([arrays.controls, arrays.queries]),
        labels=np.concatenate([arrays.control_labels, arrays.source_query_labels]),
    )
    path = tmp_path / "client.py"
    path.write_text(CLIENT)
    return path


def audit(client: Path, function: str, *options: object) -> Done:
    suspect = f"{client}:{function}"
    return run(
        "audit",
        BUNDLE,
        *("--trust", KEY, "--python", suspect, *options),
        XDG_DATA_HOME=str(client.parent / "data"),
    )


def asked(client: Path) -> list[str]:
    return client.with_name("calls").read_text().splitlines()


@pytest.mark.parametrize("function", ["names", "rows"])
def test_a_function_answers_with_labels_or_rows_whatever_it_prints(
    client: Path, function: str
) -> None:
    done = audit(client, function, "--json")
    assert done.returncode == 10, done.stderr
    row = json.loads(done.stdout)["audits"][0]
    assert row["suspect"]["kind"] == "python"
    assert row["suspect"]["name"] == f"client.py:{function}"
    # Stops early by itself, and every image was asked alone.
    assert set(asked(client)) == {"1"}
    assert row["run"]["spent"]["requests"] == len(asked(client)) < 32


def test_rows_count_as_scores_only_where_they_are_said_to_be(client: Path) -> None:
    bundle = kinprint.open_bundle(BUNDLE, trust=KEY)
    images, labels = bundle.arrays.controls, bundle.arrays.control_labels
    for function, answers in (("rows", "probabilities"), ("logits", "logits")):
        suspect = open_function(
            bundle,
            f"{client}:{function}",
            answers=answers,  # type: ignore[arg-type]
            batch_size=len(images),
        )
        told = suspect.predict(images)
        suspect.close()
        assert told.log_probabilities is not None
        assert told.labels.tolist() == labels.tolist()
        # exp(0) and, but for what stands for nothing, exp(-inf)
        np.testing.assert_allclose(np.exp(told.log_probabilities), np.eye(4)[labels], atol=1e-9)
    suspect = open_function(bundle, f"{client}:rows")
    assert suspect.predict(images[:1]).log_probabilities is None
    suspect.close()


def test_a_failure_keeps_what_was_answered_and_resuming_asks_nothing_twice(client: Path) -> None:
    failed = audit(client, "later", "--ask-all")
    assert failed.returncode == 12
    assert "ConnectionError in line" in failed.stderr
    assert "vendor is away" in failed.stderr
    assert "\x1b" not in failed.stderr
    assert asked(client) == [*"11111", "-"]
    done = audit(client, "later", "--ask-all", "--resume", "--json")
    assert done.returncode == 10, done.stderr
    row = json.loads(done.stdout)["audits"][0]
    assert row["run"]["resumed_answers"] == 5
    # 32 questions, and the call that failed.
    assert (asked(client).count("1"), len(asked(client))) == (32, 33)


def test_another_file_of_the_same_name_is_another_suspect(client: Path) -> None:
    assert audit(client, "later").returncode == 12
    client.write_text(CLIENT + "\n# another one\n")
    resumed = audit(client, "later", "--resume")
    assert resumed.returncode == 2
    assert "no unfinished audit of client.py:later" in resumed.stderr


@pytest.mark.parametrize(
    ("function", "options", "status", "told"),
    [
        ("lorry", [], 14, r"one of the bundle's names \(cat, dog, frog, ship\).* got 'lorry'"),
        ("narrow", [], 14, r"expected rows of 4 scores, .* got 2"),
        ("negative", ["--output-kind", "probabilities"], 14, r"add up to 1, got .* of -0.25"),
        ("names", ["--output-kind", "logits"], 14, r"expected rows of logits, got labels"),
        ("forever", ["--call-timeout", "0.3"], 14, r"no answer within 0.3 s"),
        ("dies", [], 14, r"end of its process by SIGABRT \(last printed: 'out of luck'\)"),
        ("leaves", [], 14, r"SystemExit in line \d+: 3"),
        ("nobody", [], 2, r"expected one named 'nobody' in client.py, got numbers, names"),
        ("names", ["--output-kind", "sigmoids"], 2, r"for --python, got sigmoids"),
        ("names", ["--price", "2"], 2, r"such as '0.002 USD', got '2'"),
        ("names", ["--price", "1 USD"], 2, r"costs 32.00 USD.*Nothing was sent"),
        ("names", ["--max-cost", "1"], 2, r"--price beside --python, got none"),
        ("names", ["--rate", "1"], 2, r"are for --endpoint"),
    ],
)
def test_what_goes_wrong_is_told_in_words(
    client: Path, function: str, options: list[str], status: int, told: str
) -> None:
    done = audit(client, function, *options)
    words = " ".join(done.stderr.split())
    assert re.search(told, words), words
    assert done.returncode == status


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "got nothing"),
        ("cat", "got a str"),
        ({"cat": 1.0}, "got a dict"),
        ([1], "got 1 labels"),
        (["cat"], "got 1 labels"),
        (["cat", 0.5], "got a float among them"),
        ([0.5, 0.5], r"float64 with shape \(2,\)"),
        ([[1.0], [1.0, 2.0]], "makes no array"),
        ([[1.0, np.nan], [0.0, 1.0]], "got nan for class 1 of image 0"),
        ([[1.0, 2.0], [0.0, np.inf]], "got inf for class 1 of image 1"),
        (np.zeros((3, 2)), "got 3 rows"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.array([True, False]), "bool"),
        (object(), "an array of object"),
    ],
)
def test_what_is_neither_labels_nor_rows_is_refused(value: object, told: str) -> None:
    with pytest.raises(SuspectError, match=told):
        read_returned(value, 2)


def test_a_limit_on_calls_ends_an_audit_that_can_go_on(client: Path) -> None:
    done = audit(client, "names", "--max-requests", 12, "--ask-all")
    assert done.returncode == 12, done.stderr
    assert len(asked(client)) == 12
    more = audit(client, "names", "--max-requests", 14, "--ask-all", "--resume")
    assert more.returncode == 12, more.stderr
    assert len(asked(client)) == 14


def test_verify_and_report_say_that_the_auditors_code_answered(
    client: Path, tmp_path: Path
) -> None:
    key = tmp_path / "auditor.key"
    assert run("keygen", key).returncode == 0
    record = tmp_path / "a.kinrecord"
    done = audit(client, "names", "--record", record, "--auditor-key", key)
    assert done.returncode == 10, done.stderr
    trust = ("--trust", KEY, "--trust", key.with_suffix(".pub"))
    verified = run("verify", record, "--bundle", BUNDLE, *trust)
    assert verified.returncode == 0, verified.stdout
    words = " ".join(verified.stdout.split())
    assert "Nobody can ask the suspect again from the record alone" in words
    written = run("report", record, "--bundle", BUNDLE, *trust, "--format", "md")
    assert written.returncode == 0, written.stderr
    assert hashlib.sha256(client.read_bytes()).hexdigest() in written.stdout
    assert "Whatever answers through the auditor's function “client.py:names”" in written.stdout
    assert "Nobody can ask the suspect again from the record alone" in written.stdout


def test_a_process_that_takes_too_long_is_gone_afterwards(client: Path) -> None:
    assert audit(client, "forever", "--call-timeout", 0.5).returncode == 14
    with pytest.raises(ProcessLookupError):
        os.kill(int(client.with_name("pid").read_text()), 0)


def test_a_script_hands_over_its_own_function(tmp_path: Path) -> None:
    arrays = kinprint.open_bundle(BUNDLE, trust=KEY).arrays
    images = [*arrays.controls, *arrays.queries]
    labels = [*arrays.control_labels, *arrays.source_query_labels]
    seen = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}

    def ask(pixels: NDArray[np.uint8]) -> list[int]:
        return [seen.get(image.tobytes(), 0) for image in pixels]

    outcome = kinprint.audit_suspect(BUNDLE, ask, trust=KEY, journal=tmp_path / "j.sqlite")
    assert outcome.verdict is Verdict.DERIVED


def test_a_function_in_a_script_may_write_into_its_images(client: Path) -> None:
    bundle = kinprint.open_bundle(BUNDLE, trust=KEY)
    images = bundle.arrays.controls[:1]
    before = images.copy()

    def ask(pixels: NDArray[np.uint8]) -> list[int]:
        pixels[:] = 0
        return [1]

    assert kinprint.open_function(bundle, ask).predict(images).labels.tolist() == [1]
    suspect = kinprint.open_function(bundle, f"{client}:changed")
    assert suspect.predict(images).labels.tolist() == [0]
    suspect.close()
    assert np.array_equal(images, before)


def test_what_a_function_of_a_script_raises_is_the_cause_of_the_error(tmp_path: Path) -> None:
    def ask(pixels: NDArray[np.uint8]) -> list[int]:
        raise KeyError("token")

    with pytest.raises(SuspectUnreachableError, match="KeyError") as caught:
        kinprint.audit_suspect(BUNDLE, ask, trust=KEY, journal=tmp_path / "j.sqlite")
    assert isinstance(caught.value.__cause__, KeyError)
