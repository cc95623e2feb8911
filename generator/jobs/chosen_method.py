"""Which fingerprint method a crafting run uses, and with which options, as an owner wrote them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from adapters.strict_model import FrozenModel
from generator.crafting.fingerprint import FingerprintMethod
from generator.errors import GenerationError
from generator.methods.known_methods import METHODS, load_method

MFUE = "mfue"
"""The method that is used unless another one is named; the command's own options are its."""
_MFUE_ONLY = (
    "num_triggers",
    "probes",
    "num_probes",
    "trigger_radius",
    "query_radius",
    "max_steps",
    "candidates",
)
_OF_STUDENTS = ("student_epochs", "student_learning_rate")


@dataclass(frozen=True, kw_only=True)
class ChosenMethod:
    """A method that is not MFUE."""

    method: FingerprintMethod
    options: FrozenModel
    """An instance of ``method.options``."""


def choose_method(
    name: str, options: Mapping[str, Any], *, given: Collection[str]
) -> ChosenMethod | None:
    """Return the method that is not MFUE, and its options; None for MFUE.

    Args:
        name: `MFUE`, or a name out of `METHODS`.
        options: The method's, by name; words stand for numbers where it wants numbers.
        given: Fields of the run that were written out.

    Raises:
        GenerationError: Unknown method, an option that it does not have or that is out of range,
            or one of MFUE's options with another method.
    """
    if name == MFUE:
        if options:
            raise GenerationError(
                f"option: expected none with {MFUE}, whose settings are options of the command "
                f"itself, got {', '.join(options)}"
            )
        return None
    if name not in METHODS:
        raise GenerationError(
            f"method: expected one of {', '.join((MFUE, *METHODS))}, got {name!r}"
        )
    method = load_method(name)
    for field in _MFUE_ONLY:
        if field in given:
            raise GenerationError(
                f"{field}: expected with --method {MFUE} only, got it with {name}; --queries says "
                "how many images, --option name=value sets what the method knows"
            )
    for field in _OF_STUDENTS:
        if field in given and "students" not in method.needs:
            raise GenerationError(
                f"{field}: expected with {MFUE} or a method that crafts with students, got it with "
                f"{name}"
            )
    try:
        return ChosenMethod(
            method=method, options=method.options.model_validate(dict(options), strict=False)
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(method.options.model_fields) or "none"
            raise GenerationError(f"option: {name} has no {field!r}; it has {known}") from error
        raise GenerationError(f"option {field}: {first['msg']}, got {first['input']!r}") from error


def method_table(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``[method]``, a table with ``name`` and the method's options, or ``method = "name"``.

    Args:
        fields: Of the TOML file.

    Returns:
        Fields of the run; none where the file has no such table.

    Raises:
        GenerationError: The table has no name.
    """
    table = fields.get("method")
    if not isinstance(table, dict):
        return {}
    options = {name.replace("-", "_"): value for name, value in table.items()}
    if not isinstance(options.get("name"), str):
        raise GenerationError("method: expected name in the table [method] of the TOML file")
    return {"method": options.pop("name"), "method_options": options}


def option_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``name=value`` words.

    Raises:
        GenerationError: A word is none.

    Example:
        >>> option_pairs(["k=0.5", "k-unit=logits"])
        {'k': '0.5', 'k_unit': 'logits'}
    """
    options: dict[str, str] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise GenerationError(f"option: expected name=value, got {text!r}")
        options[name.strip().replace("-", "_")] = value.strip()
    return options
