"""A commented endpoint file to start from, for each wire format.

What is special about a format stands in its module's ``TEMPLATE``; what all have in common is
told by the docstrings of `EndpointDescription`'s fields.
"""

import ast
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence

from adapters.endpoint.description import EndpointDescription, Image
from adapters.http.endpoint_file import known_formats, unknown_format
from adapters.printable import toml_string
from adapters.suspect import SuspectConfigError
from audit.bundle.manifest import Preprocessing

_EXAMPLES = {
    "stop_after_failures": "20",
    "requests_per_second": "2",
    "price_per_request": "0.001",
    "currency": '"USD"',
    "max_requests": "1000",
    "max_cost": "5.0",
    "ca_bundle": '"authority.pem"',
    "size": "[224, 224]",
}
"""Values for fields without a default that would say anything."""
_COMMON = (
    "requests_per_second",
    "concurrency",
    "timeout_s",
    "retries",
    "price_per_request",
    "currency",
    "max_requests",
    "max_cost",
    "ca_bundle",
)
_OF_IMAGES = ("size", "resampling", "encoding")
_WIDTH = 96


def endpoint_template(
    name: str,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> str:
    """Return the text of an endpoint file that can be read as it is.

    Args:
        name: The wire format.
        class_names: The bundle's classes, where a bundle is at hand.
        preprocessing: The bundle's, likewise.

    Raises:
        SuspectConfigError: There is no such format.
    """
    if name not in known_formats():
        raise SuspectConfigError(unknown_format(name))
    module = importlib.import_module(f"adapters.wire.{name}")
    top, _, tables = f"{module.TEMPLATE}".partition("\n\n")
    if preprocessing is not None:
        for field in ("mean", "std"):
            tables = _replaced(tables, field, getattr(preprocessing, field))
        if preprocessing.color_order != "RGB":
            tables = re.sub(
                r"^std = .*$",
                rf'\g<0>\ncolor_order = "{preprocessing.color_order}"',
                tables,
                flags=re.MULTILINE,
            )
    lines = [
        f"# An endpoint of the kind {name}; docs/endpoints.md says more.",
        "# Try it with: kinprint endpoint check THIS_FILE --bundle BUNDLE",
        "",
        f'format = "{name}"',
        top,
        "",
        *class_lines(class_names),
        "",
        *_optional(EndpointDescription, _COMMON, top),
    ]
    text = "\n".join(lines) + f"\n\n{tables.rstrip()}\n"
    if "[image]" in tables:
        return text
    return "\n".join([text, "# [image]", *_optional(Image, _OF_IMAGES, "")]) + "\n"


def field_docstrings(model: type) -> dict[str, str]:
    """Return the docstring under each field of a class, on one line.

    Example:
        >>> field_docstrings(EndpointDescription)["concurrency"]
        'Requests in flight at once.'
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))):
                found[statement.target.id] = " ".join(text.replace("``", "").split())
    return found


def class_table(class_names: Mapping[str, str]) -> str:
    """Return an endpoint file's table from the vendor's labels to the bundle's classes."""
    lines = (f"{toml_string(label)} = {toml_string(name)}" for label, name in class_names.items())
    return "\n".join(["[class_names]", *lines])


def _replaced(tables: str, field: str, numbers: Sequence[float]) -> str:
    """Put the bundle's numbers into the line that sets a field, and say that they are its."""
    line = f"{field} = {json.dumps(list(numbers))}"
    told = f"{line:<30} # the bundle's, after scaling by 1/255"
    return re.sub(rf"^{field} = .*$", lambda _: told, tables, flags=re.MULTILINE)


def class_lines(names: Sequence[str] | None) -> list[str]:
    """Return the lines of ``class_names``, as a comment where nobody knows them."""
    told = "# What the vendor calls the bundle's classes, in the bundle's order; or a table"
    told += ' [class_names] of "vendor\'s name" = "bundle\'s name".'
    lines = textwrap.wrap(told, _WIDTH, subsequent_indent="# ")
    listed = ", ".join(toml_string(name) for name in names or ("cat", "dog"))
    if names is None:
        return [*lines, f"# class_names = [{listed}]"]
    if len(listed) <= _WIDTH:
        return [*lines, f"class_names = [{listed}]"]
    return [
        *lines,
        "class_names = [",
        *(f"  {toml_string(name)}," for name in names),
        "]",
    ]


def _optional(
    model: type[EndpointDescription] | type[Image], names: Sequence[str], set_already: str
) -> list[str]:
    """Return fields as comments, each with its docstring, but those that are set."""
    told = field_docstrings(model)
    lines = []
    for name in names:
        if f"{name} =" in set_already:
            continue
        default = model.model_fields[name].default
        value = _EXAMPLES.get(name) or json.dumps(default)
        line = f"# {name} = {value}"
        words = textwrap.wrap(told.get(name, ""), _WIDTH - 34)
        lines.append(f"{line:<31}# {words[0]}" if words else line)
        lines += [f"#{'':<30}# {more}" for more in words[1:]]
    return lines
