"""A JSON request body with a place for the image, filled in for every request.

``{"inputs": [{"data": "{{image_base64_png}}"}]}``: the placeholder stands inside one string,
at any depth, perhaps after a prefix such as ``data:image/png;base64,``. A placeholder for numbers
is a string of its own, which they replace. For several images in one request, the innermost list
of one element around it is repeated once per image.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.payload.json_body import JsonText, dumps

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
_Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class JsonTemplate:
    """A parsed body, and where the image goes."""

    body: Any
    """JSON value with the placeholder in one string."""
    name: str
    """Placeholder between the braces."""
    path: _Path
    """Keys and indices that lead to the string with the placeholder."""
    repeated: _Path | None
    """Keys and indices that lead to the list repeated per image; None for one image."""

    def fill(self, images: Sequence[str | JsonText]) -> bytes:
        """Return the body with the encoded images in place.

        Args:
            images: Text, or `JsonText` of its numbers, per image; exactly one unless a list is
                repeated.
        """
        if self.repeated is None:
            (image,) = images
            return dumps(_replaced(self.body, self.path, self._with_image(image)))
        element, rest = _at(self.body, self.repeated)[0], self.path[len(self.repeated) + 1 :]
        elements = [_replaced(element, rest, self._with_image(image)) for image in images]
        return dumps(_replaced(self.body, self.repeated, elements))

    def _with_image(self, image: str | JsonText) -> str | JsonText:
        if not isinstance(image, str):
            return image
        text: str = _at(self.body, self.path)
        return text.replace("{{" + self.name + "}}", image)


def parse_template(
    template: Any, placeholder: str, *, is_batch: bool, is_whole: bool = False
) -> JsonTemplate:
    """Check a template once, so that filling it cannot fail.

    Args:
        template: JSON value, or the text of one.
        placeholder: Name that must stand in it once, between double braces.
        is_batch: Whether requests carry several images.
        is_whole: Whether the placeholder has to be a string of its own.

    Raises:
        ValueError: No JSON, another placeholder, not exactly one, or no list to repeat.
    """
    if isinstance(template, str):
        try:
            template = json.loads(template)
        except ValueError as error:
            raise ValueError(f"expected JSON, got a mistake: {error}") from error
    else:
        _refuse_other_than_json(template)
    wanted = "{{" + placeholder + "}}"
    found = [(path, name) for path, text in _strings(template) for name in _names(text)]
    for _, name in found:
        if name != placeholder:
            raise ValueError(f"expected the placeholder {wanted}, got {{{{{name}}}}}")
    if len(found) != 1:
        raise ValueError(f"expected {wanted} once, got it {len(found)} times")
    path = found[0][0]
    if is_whole and _at(template, path) != wanted:
        raise ValueError(f"expected {wanted} as a text of its own, got other characters around it")
    repeated = None
    if is_batch:
        around = [path[:depth] for depth, key in enumerate(path) if isinstance(key, int)]
        lists = [prefix for prefix in around if len(_at(template, prefix)) == 1]
        if not lists:
            raise ValueError(
                f"expected a list of one element around {wanted} to repeat per image, got none; "
                "write one or leave batch_size out"
            )
        repeated = lists[-1]
    return JsonTemplate(body=template, name=placeholder, path=path, repeated=repeated)


def _names(text: str) -> list[str]:
    return [name.strip() for name in _PLACEHOLDER.findall(text)]


def _refuse_other_than_json(value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("expected JSON values, got a date, nan or inf; write text") from None


def _strings(value: Any, path: _Path = ()) -> list[tuple[_Path, str]]:
    """Return all strings in a JSON value with the way to each."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _strings(item, (*path, key))]
    if isinstance(value, list):
        return [
            found for index, item in enumerate(value) for found in _strings(item, (*path, index))
        ]
    return []


def _at(value: Any, path: _Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _replaced(value: Any, path: _Path, new: Any) -> Any:
    """Return a copy of ``value`` with ``new`` at ``path``; the rest is shared."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy
