"""Pages without scripts that ask for nothing from outside: their templates and their one style."""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from adapters.printable import printable


def shown(value: Any) -> Any:
    """Let no control character or change of text direction through; marked-up text is ours."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value, allowed="\xa0")


@cache
def page_style() -> Markup:
    """Return the style sheet that pages share."""
    return Markup(_text("page.css"))


@cache
def page_template(name: str) -> Template:
    """Return a page's template, by its file's name."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    return environment.from_string(_text(name))


def _text(name: str) -> str:
    return resources.files("audit.report").joinpath(name).read_text(encoding="utf-8")
