"""The wire format ``ollama``: a vision model behind Ollama's ``/api/chat``.

Source: Ollama, API documentation, "Generate a chat completion", with ``images``.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.chat import ChatDescription, label_of_words
from adapters.payload.image_encoding import encode
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import dumps
from adapters.payload.open_server import metadata, post, search
from adapters.printable import excerpt
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "http://127.0.0.1:11434/api/chat"

[request]
model = "MODEL"
# prompt = "Which of these is it: {{classes}}? Answer with one name."
# extra = { keep_alive = "1h" }    # further fields; options.temperature is 0 unless one of them

# [answer.aliases]                 # other words of the model's for a class
# cat = ["kitten", "tomcat"]
"""


class Description(ChatDescription):
    """An endpoint file with ``format = "ollama"``."""

    format: Literal["ollama"]

    def wire_format(self, num_classes: int) -> "OllamaFormat":
        """Return what encodes and decodes as the file says."""
        return OllamaFormat(description=self)


@dataclass(frozen=True, kw_only=True)
class OllamaFormat:
    """One image per request, one message per answer, which does not come in pieces."""

    description: Description
    batch_size: int = 1
    capability: Capability = Capability.LABELS

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[1, H, W, C]``."""
        request = self.description.request
        text = base64.b64encode(encode(images[0], self.description.image)).decode()
        options = request.extra.get("options", {})
        document = {
            "model": request.model,
            **request.extra,
            "options": {"temperature": 0, **options},
            "stream": False,
            "messages": [{"role": "user", "content": self.description.prompt, "images": [text]}],
        }
        return post(self.description, dumps(document), "application/json")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the message."""
        document = read_json(body)
        if isinstance(document, dict) and document.get("error"):
            raise SuspectError(f"answer: expected a message, got an error: {excerpt(body)!r}")
        words = search("message.content", document)
        if not isinstance(words, str):
            raise SuspectError(f"answer: expected a message with a text, got {excerpt(body)!r}")
        label = label_of_words(words, self.description.answer.label)
        return WireAnswer(labels=(label,), metadata=metadata({"model": "model"}, document))
