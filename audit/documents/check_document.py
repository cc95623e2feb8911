"""The document of ``kinprint endpoint check --json``, and its JSON Schema (``check.schema.json``).

``python -m audit.documents.check_document`` writes the schema anew; a test compares the two. As in
`audit.documents.audit_document`, what is added keeps `SCHEMA_VERSION`.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from adapters.http.suspect import HttpEndpoint
from adapters.strict_model import FrozenModel
from audit.documents.json_schema import schema_of, shipped_schema, write_schema
from audit.endpoint.check import EndpointCheck
from audit.endpoint.shown_exchange import answer_lines, request_lines

SCHEMA_VERSION: Literal[1] = 1
_FILE = "check.schema.json"


class CheckedControls(FrozenModel):
    """What became of the control images."""

    num_images: int
    num_correct: int
    num_refused: Annotated[int, Field(description="Got no class; they count as wrong.")]
    accuracy: float
    interval: Annotated[
        tuple[float, float], Field(description="Exact 95 % interval of the accuracy.")
    ]
    source_accuracy: float
    min_accuracy: Annotated[float, Field(description="What an audit needs to go on.")]
    comparable: bool
    likely_causes: Annotated[
        list[str], Field(description="What to look at where too few are right.")
    ]


class CheckedOrder(FrozenModel):
    """In which order the endpoint has the classes (``--infer-classes``)."""

    order: Annotated[
        list[int], Field(description="The endpoint's index of each of the bundle's classes.")
    ]
    is_identity: Annotated[bool, Field(description="It is the bundle's own order.")]
    accuracy_as_is: Annotated[float, Field(description="On the control images, as the file is.")]
    unsure: Annotated[
        list[str], Field(description="A sentence about each class that might be another one.")
    ]
    class_names: Annotated[
        dict[str, str],
        Field(description="What [class_names] would say: the bundle's class by vendor's label."),
    ]


class CheckedLatency(FrozenModel):
    """How long answers took, one request after another."""

    num_requests: Annotated[
        int, Field(description="That the control images took, failed ones included.")
    ]
    median_s: float
    p95_s: float


class CheckedAlteration(FrozenModel):
    """What became of the labels when the same images arrived otherwise."""

    name: Annotated[str, Field(description="jpeg or enlarged.")]
    num_images: int
    num_changed: Annotated[int, Field(description="Images that got another label than before.")]
    num_correct: int
    largest_shift: Annotated[
        float | None, Field(description="Of a probability; null where there are labels only.")
    ]
    refusal: Annotated[
        str | None, Field(description="What the endpoint said where it takes no such images.")
    ]


class CheckedUnclear(FrozenModel):
    """Answers in words that could not be understood; they count as refused."""

    reason: Annotated[str, Field(description="In words that follow 'answers'.")]
    num: int
    examples: Annotated[list[str], Field(description="The first different ones, shortened.")]


class WholeAudit(FrozenModel):
    """What an audit takes at most, without retries."""

    num_questions: int
    num_requests: int
    seconds: Annotated[
        float | None, Field(description="At the file's own rate; null where it has none.")
    ]
    cost: Annotated[str, Field(description="Exact decimal; 0 where the file names no price.")]
    currency: Annotated[str, Field(description="ISO 4217 code; empty where there is none.")]


class CheckDocument(FrozenModel):
    """What ``kinprint endpoint check --json`` prints."""

    model_config = ConfigDict(title="kinprint endpoint check --json")

    schema_version: Literal[1]
    endpoint: Annotated[
        dict[str, str],
        Field(description="Its name (URL without query and credentials), format and image."),
    ]
    controls: CheckedControls
    class_order: Annotated[
        CheckedOrder | None, Field(description="Null without --infer-classes, or if none is found.")
    ]
    latency: CheckedLatency
    capability: Annotated[str, Field(description="labels, top_k or probabilities.")]
    advice: Annotated[
        str | None, Field(description="What the answers tell beyond what the file uses.")
    ]
    unclear: list[CheckedUnclear]
    alterations: list[CheckedAlteration]
    notes: list[str]
    request: Annotated[
        list[str], Field(description="Lines of the first one; secrets masked, long bodies cut.")
    ]
    answer: Annotated[list[str], Field(description="Lines of the answer to it.")]
    metadata: Annotated[
        dict[str, str], Field(description="What the server said about itself with the last answer.")
    ]
    audit: WholeAudit


def check_document(endpoint: HttpEndpoint, found: EndpointCheck) -> CheckDocument:
    """Put what a check found into the document."""
    order = found.class_order
    return CheckDocument(
        schema_version=SCHEMA_VERSION,
        endpoint={"name": endpoint.identity.name, **endpoint.identity.details},
        controls=CheckedControls(
            num_images=found.num_images,
            num_correct=found.num_correct,
            num_refused=found.num_refused,
            accuracy=found.accuracy,
            interval=found.interval,
            source_accuracy=found.source_accuracy,
            min_accuracy=found.min_accuracy,
            comparable=found.is_comparable,
            likely_causes=list(found.likely_causes),
        ),
        class_order=None
        if order is None
        else CheckedOrder(
            order=list(order.order),
            is_identity=order.is_identity,
            accuracy_as_is=order.accuracy_as_is,
            unsure=list(order.unsure),
            class_names=found.class_names,
        ),
        latency=CheckedLatency(
            num_requests=found.num_requests,
            median_s=found.latency_median_s,
            p95_s=found.latency_p95_s,
        ),
        capability=found.capability.name.lower(),
        advice=found.advice,
        unclear=[
            CheckedUnclear(reason=each.doubt, num=each.num, examples=list(each.examples))
            for each in found.unclear
        ],
        alterations=[CheckedAlteration(**asdict(each)) for each in found.alterations],
        notes=list(found.notes),
        request=request_lines(endpoint, found.exchange),
        answer=answer_lines(endpoint, found.exchange),
        metadata=found.metadata,
        audit=WholeAudit(
            num_questions=found.audit.num_questions,
            num_requests=found.audit.num_requests,
            seconds=found.audit.seconds,
            cost=f"{found.audit.cost:f}",
            currency=found.audit.currency,
        ),
    )


def make_schema() -> dict[str, Any]:
    """Return the JSON Schema as the models say."""
    return schema_of(CheckDocument)


def schema_text() -> str:
    """Return the shipped schema."""
    return shipped_schema(_FILE)


if __name__ == "__main__":
    write_schema(CheckDocument, _FILE)
