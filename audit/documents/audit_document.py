"""The document of ``kinprint audit --json``, and its JSON Schema (``audit.schema.json``).

``python -m audit.documents.audit_document`` writes the schema anew; a test compares the two. What
is added keeps `SCHEMA_VERSION`, so a reader ignores fields that it does not know; what is removed
or means something else raises it.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from adapters.strict_model import FrozenModel
from audit.documents.json_schema import schema_of, shipped_schema, write_schema
from audit.verdict.outcome import Outcome

SCHEMA_VERSION = 2
_FILE = "audit.schema.json"
_ExitCode = Annotated[int, Field(description="See the exit statuses in the README.")]


class AskedBundle(FrozenModel):
    """The bundle that was asked with."""

    sha256: Annotated[str, Field(description="SHA-256 of the manifest.")]
    model_name: str
    owner: str
    signer: Annotated[str, Field(description="Id of the key that signed it.")]
    method: str
    alpha: Annotated[float, Field(description="False-positive rate that it was made for.")]
    beta: Annotated[float, Field(description="Miss rate that it was made for.")]
    committed: Annotated[
        str | None,
        Field(
            description="Time, UTC, in the owner's commitment; null where none was given, so that "
            "the bundle's age is the owner's word."
        ),
    ] = None


class AskedSuspect(FrozenModel):
    """Who was asked."""

    path: Annotated[str, Field(description="As it was given on the command line.")]
    kind: Annotated[str, Field(description="onnx or endpoint.")]
    name: Annotated[str, Field(description="File name, or URL without query and credentials.")]
    digest: Annotated[
        str, Field(description="SHA-256 of the file, or of what the endpoint file says.")
    ]
    details: dict[str, str]


class Spent(FrozenModel):
    """What an endpoint charges for, all runs of the audit together."""

    requests: int
    images: int
    cost: Annotated[str | None, Field(description="Exact decimal; null where no price is known.")]
    currency: Annotated[str | None, Field(description="ISO 4217 code.")]


class AuditRun(FrozenModel):
    """What differs from run to run of the same audit."""

    audit: Annotated[str, Field(description="Its id in the journal.")]
    seconds: float
    resumed_answers: Annotated[int, Field(description="Answers that were there before.")]
    attempts: Annotated[int, Field(description="Requests, failed ones included.")]
    spent: Annotated[Spent | None, Field(description="Null for a file.")]


class Audited(FrozenModel):
    """An audit that came to an outcome."""

    suspect: AskedSuspect
    outcome: Outcome
    is_complete: Annotated[bool, Field(description="False: the budget ended it; --resume goes on.")]
    exit_code: _ExitCode
    adjusted_p_value: Annotated[
        float | None,
        Field(
            description="P-value for having asked several suspects (Benjamini-Hochberg); absent "
            "for one suspect, null where there is no score."
        ),
    ] = None
    run: AuditRun


class UnopenedSuspect(FrozenModel):
    """A suspect by its path alone."""

    path: str


class NotAudited(FrozenModel):
    """A suspect that gave no answers, or not enough."""

    suspect: UnopenedSuspect
    error: str
    exit_code: _ExitCode


class AuditDocument(FrozenModel):
    """What ``kinprint audit --json`` prints."""

    model_config = ConfigDict(title="kinprint audit --json")

    schema_version: Literal[2]
    bundle: AskedBundle
    audits: Annotated[
        list[Audited | NotAudited], Field(description="One per suspect, in the order given.")
    ]
    exit_code: Annotated[int, Field(description="Of all suspects together, as --fail-on makes it.")]


def make_schema() -> dict[str, Any]:
    """Return the JSON Schema as the models say."""
    return schema_of(AuditDocument)


def schema_text() -> str:
    """Return the shipped schema."""
    return shipped_schema(_FILE)


if __name__ == "__main__":
    write_schema(AuditDocument, _FILE)
