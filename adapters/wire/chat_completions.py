"""The wire format ``chat_completions``: a vision model behind OpenAI's chat completions.

Many servers speak it (vLLM, llama.cpp, LM Studio, LiteLLM, Azure). The image goes as a data URL
beside the prompt; the first choice's message is the answer.

Source: OpenAI API reference, Chat Completions, "Create chat completion", content parts of type
``image_url``.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapters.endpoint.wire_format import Label, WireAnswer, WireRequest
from adapters.payload.answer_rows import kind_of
from adapters.payload.chat import ChatDescription, ChatRequest, label_of_words
from adapters.payload.image_encoding import MIME_TYPES, encode
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import dumps
from adapters.payload.open_server import metadata, post, search
from adapters.printable import excerpt
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "https://api.vendor.example/v1/chat/completions"

[auth]                         # leave it out for servers that ask for none
scheme = "Bearer"
env = "VENDOR_KEY"             # the variable that holds the secret, not the secret

[request]
model = "MODEL"
# prompt = "Which of these is it: {{classes}}? Answer with one name."
# detail = "high"              # or "low": in which size the vendor looks at the image
# extra = { max_tokens = 20 }  # further fields; temperature is 0 unless one of them

# [answer.aliases]             # other words of the model's for a class
# cat = ["kitten", "tomcat"]
"""

_ABOUT_ITSELF = {"model": "model", "system_fingerprint": "system_fingerprint"}


class Request(ChatRequest):
    """What the model is asked."""

    detail: Literal["auto", "low", "high"] | None = None
    """In which size the vendor looks at the image; its own choice if absent."""


class Description(ChatDescription):
    """An endpoint file with ``format = "chat_completions"``."""

    format: Literal["chat_completions"]
    request: Request

    def wire_format(self, num_classes: int) -> "ChatCompletionsFormat":
        """Return what encodes and decodes as the file says."""
        return ChatCompletionsFormat(description=self)


@dataclass(frozen=True, kw_only=True)
class ChatCompletionsFormat:
    """One image per request, one message per answer."""

    description: Description
    batch_size: int = 1
    capability: Capability = Capability.LABELS

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[1, H, W, C]``."""
        wanted, request = self.description.image, self.description.request
        text = base64.b64encode(encode(images[0], wanted)).decode()
        image = {"url": f"data:{MIME_TYPES[wanted.encoding]};base64,{text}"}
        if request.detail is not None:
            image["detail"] = request.detail
        content = [
            {"type": "text", "text": self.description.prompt},
            {"type": "image_url", "image_url": image},
        ]
        document = {
            "model": request.model,
            "temperature": 0,
            **request.extra,
            "messages": [{"role": "user", "content": content}],
        }
        return post(self.description, dumps(document), "application/json")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the message of the first choice."""
        document = read_json(body)
        if isinstance(document, dict) and document.get("error"):
            raise SuspectError(f"answer: expected a message, got an error: {excerpt(body)!r}")
        choice = search("choices[0]", document)
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise SuspectError(f"answer: expected choices with a message, got {excerpt(body)!r}")
        label: Label = None
        message = choice["message"]
        if not message.get("refusal") and choice.get("finish_reason") != "content_filter":
            label = label_of_words(_words(message.get("content")), self.description.answer.label)
        return WireAnswer(labels=(label,), metadata=metadata(_ABOUT_ITSELF, document))


def _words(content: Any) -> str | None:
    """Return the text of a message, which may come in parts."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    raise SuspectError(f"answer: expected a text in the message, got {kind_of(content)}")
