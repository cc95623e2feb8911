"""What an endpoint said about itself, and whether it stayed the same throughout an audit.

The auditor wrote it down, so nothing here can be held or failed; but a reader must see whether the
answers of one record came from one server and one model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from adapters.http.server_identity import CERTIFICATE, REQUEST_IDS
from audit.records.check import Check, unchecked
from audit.records.record import Record, Row

NAME = "who answered"
MAX_VALUES = 5
"""Most values of one name that are listed."""


def said(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """Count what came with the answers.

    Returns:
        By name, sorted, how many answers came with each value, in the order of first appearance.
    """
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.metadata.items():
            found.setdefault(name, Counter())[value] += 1
    return dict(sorted(found.items()))


def shown(counts: Mapping[str, int]) -> str:
    """Return the values of one name for people.

    Example:
        >>> shown({"blue": 3}), shown({"blue": 3, "green": 1})
        ('blue', 'blue (3 answers), green (1 answer)')
    """
    if len(counts) == 1:
        return next(iter(counts))
    values = list(counts.items())
    if len(values) > MAX_VALUES:
        return f"{len(values)} values, from {values[0][0]} to {values[-1][0]}"
    return ", ".join(f"{value} ({_answers(count)})" for value, count in values)


def check_server(record: Record) -> Check:
    """Who answered, as far as the answers say."""
    if not record.rows:
        return unchecked(NAME, "Nothing was answered.")
    found = said(record.rows)
    told = [_certificate(found, len(record.rows))]
    words = {
        name.removeprefix("header."): counts
        for name, counts in found.items()
        if not name.startswith("tls.") and name not in REQUEST_IDS
    }
    same = [f"{name} {shown(counts)}" for name, counts in words.items() if len(counts) == 1]
    changed = [f"{name}: {shown(counts)}" for name, counts in words.items() if len(counts) > 1]
    if same:
        told.append(f"It called itself {', '.join(same)}.")
    if changed:
        told.append(
            f"What it said changed during the audit, and the model behind it may have, too: "
            f"{'; '.join(changed)}."
        )
    told.append("All this is what the auditor wrote down.")
    return unchecked(NAME, " ".join(told))


def _certificate(found: Mapping[str, Mapping[str, int]], num_answers: int) -> str:
    certificates = found.get(CERTIFICATE, {})
    covered = sum(certificates.values())
    if not covered:
        return "No TLS certificate is noted; without TLS anybody on the way can change answers."
    if len(certificates) > 1 or covered < num_answers:
        without = f"; {_answers(num_answers - covered)} without one" * (covered < num_answers)
        return f"The certificate changed during the audit: {shown(certificates)}{without}."
    subject, issuer, start, end = (
        shown(found.get(f"tls.{name}", {"unknown": 1}))
        for name in ("subject", "issuer", "valid_from", "valid_to")
    )
    return (
        f"All {_answers(num_answers)} came over TLS under one certificate: {subject}, issued by "
        f"{issuer}, valid from {start} to {end}, SHA-256 {shown(certificates)}."
    )


def _answers(num: int) -> str:
    return "1 answer" if num == 1 else f"{num} answers"
