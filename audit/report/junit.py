"""The verdicts of ``kinprint audit`` as a JUnit file: one test case per suspect.

A derived suspect is a failure, one that could not be judged an error; an inconclusive audit is a
failure or skipped, as ``--fail-on`` says. Everything that came from elsewhere is made printable,
because XML has no place for control characters.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from adapters.printable import printable
from audit.verdict.outcome import Verdict


def junit_bytes(
    bundle: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], fail_on: str
) -> bytes:
    """Return the file.

    Args:
        bundle: The document's entry ``bundle`` (`audit.documents.audit_document`).
        rows: Its entry ``audits``.
        fail_on: ``derived``, ``inconclusive`` or ``never``.
    """
    suite = TestSuite(printable(f"kinprint audit {bundle['model_name']}"))
    suite.add_property("bundle", bundle["sha256"])
    suite.add_property("owner", printable(bundle["owner"]))
    for row in rows:
        suite.add_testcase(_case(row, fail_on))
    document = JUnitXml("kinprint")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    document.write(buffer, pretty=True)
    return buffer.getvalue()


def _case(row: Mapping[str, Any], fail_on: str) -> TestCase:
    case = TestCase(printable(row["suspect"]["path"]), classname="kinprint.audit")
    if "error" in row:
        case.result = [Error(printable(row["error"]), f"exit status {row['exit_code']}")]
        return case
    outcome = row["outcome"]
    text, verdict = printable(outcome["text"]), Verdict(outcome["verdict"])
    case.time = row["run"]["seconds"]
    case.system_out = text
    if not row["is_complete"]:
        case.result = [Error(f"stopped by its budget. {text}", "stopped")]
    elif verdict is Verdict.NOT_COMPARABLE:
        case.result = [Error(text, verdict.value)]
    elif verdict is Verdict.DERIVED and fail_on != "never":
        case.result = [Failure(text, verdict.value)]
    elif verdict is Verdict.INCONCLUSIVE:
        kind = Failure if fail_on == "inconclusive" else Skipped
        case.result = [kind(text, verdict.value)]
    return case
