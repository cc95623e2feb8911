"""Models that are asked in words, with an image beside a fixed prompt that lists the classes.

Shared by the wire formats of chat servers. The prompt is the same for every image, the temperature
is 0, and what comes back is read as words (`adapters.class_words`).
"""

import json
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from adapters.class_words import WordRules
from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import Label
from adapters.payload.open_server import compiled, search
from adapters.payload.text_answer import json_within
from adapters.payload.words_table import WordsTable
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError, SuspectError

CLASSES = "{{classes}}"
PROMPT = (
    "Which one of these classes does the image show: {{classes}}? "
    "Answer with the name of that class and nothing else."
)


class ChatRequest(FrozenModel):
    """What the model is asked."""

    model: Annotated[str, Field(min_length=1)]
    """Name of the model at the server."""
    prompt: str = PROMPT
    """The question, with ``{{classes}}`` where the names of the classes go."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further top-level fields of the request."""

    @field_validator("prompt")
    @classmethod
    def _lists_classes(cls, prompt: str) -> str:
        if prompt.count(CLASSES) != 1:
            raise ValueError(f"expected {CLASSES} once in it, got it {prompt.count(CLASSES)} times")
        return prompt

    @field_validator("extra")
    @classmethod
    def _json(cls, extra: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(extra, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("expected JSON values, got a date, nan or inf; write text") from None
        return extra


class ChatAnswer(WordsTable):
    """How the model's words are read."""

    label: str | None = None
    """JMESPath to the label, where the model is asked to answer in JSON; else its text counts."""

    @field_validator("label")
    @classmethod
    def _compiled(cls, expression: str | None) -> str | None:
        if expression is not None:
            compiled(expression)
        return expression


class ChatDescription(EndpointDescription):
    """An endpoint file of such a format."""

    request: ChatRequest
    answer: ChatAnswer = ChatAnswer()

    @property
    def names_classes(self) -> bool:
        """The prompt lists them."""
        return True

    @property
    def words(self) -> WordRules | None:
        """Sentences around one name are read; a bare number means whatever the model counts by."""
        return self.answer.rules(is_text=True, find="within", takes_index=False)

    @property
    def prompt(self) -> str:
        """Return the question with the classes in it.

        Raises:
            SuspectConfigError: Nobody knows their names.
        """
        if self.class_names is None:
            raise SuspectConfigError("class_names: expected the names that the prompt lists")
        # A table may give one class several labels; the model may use any of them.
        names = dict.fromkeys(self.class_names)
        return self.request.prompt.replace(CLASSES, ", ".join(names))

    @model_validator(mode="after")
    def _question_is_ours(self) -> "ChatDescription":
        taken = {"model", "messages", "stream"} & set(self.request.extra)
        if taken:
            raise ValueError(
                f"request.extra: expected none of model, messages and stream, got {min(taken)!r}"
            )
        if not isinstance(self.request.extra.get("options", {}), dict):
            raise ValueError("request.extra.options: expected a table, got another value")
        return self


def label_of_words(words: str | None, path: str | None) -> Label:
    """Return what a model says, or what the JSON that it says names.

    Args:
        words: Its message; None where it has none.
        path: JMESPath to the label, where it is asked for JSON.
    """
    if words is None or path is None:
        return words
    try:
        found = search(path, json_within(words))
    except SuspectError:
        return words  # whoever reads words says what is wrong with them
    return found if isinstance(found, str) else words
