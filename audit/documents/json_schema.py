"""JSON Schemas of the documents that commands print, as their pydantic models say.

Each is shipped as a file beside the models, so that printing one loads no model; a test compares
the two.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def schema_of(document: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a document.

    Readers of an older version accept fields that were added: nothing is said about others.
    """
    schema = document.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_open(schema)}


def shipped_schema(name: str) -> str:
    """Return the text of a shipped schema, by its file's name."""
    return resources.files("audit.documents").joinpath(name).read_text(encoding="utf-8")


def write_schema(document: type[BaseModel], name: str) -> None:
    """Write a document's schema into the file that is shipped."""
    text = json.dumps(schema_of(document), indent=2) + "\n"
    Path(__file__).with_name(name).write_text(text, encoding="utf-8")


def _open(schema: Any) -> Any:
    if isinstance(schema, dict):
        kept = {key: _open(value) for key, value in schema.items() if key != "additionalProperties"}
        if schema.get("additionalProperties") not in (None, False):  # a mapping's own type
            kept["additionalProperties"] = _open(schema["additionalProperties"])
        return kept
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    return schema
