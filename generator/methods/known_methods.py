"""Which fingerprint methods there are, each imported only when it is chosen."""

import importlib
from typing import Any

from generator.crafting.fingerprint import FingerprintMethod
from generator.errors import GenerationError

METHODS = {
    "ipguard": "ipguard",
    "cae": "cae",
    "metafinger": "metafinger",
    "adv-tra": "adv_tra",
    "anafp": "anafp",
    "c-examples": "characteristic",
    "rc-examples": "robust_characteristic",
    "ltrc-examples": "low_transfer_characteristic",
    "akh": "akh",
    "sac": "sac",
}
"""File by method name, without MFUE, whose bundle holds more than one fingerprint."""


def load_method(name: str) -> FingerprintMethod:
    """Return a method by its name.

    Raises:
        GenerationError: There is none of that name; names the known ones.
    """
    if name not in METHODS:
        raise GenerationError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    module: Any = importlib.import_module(f"generator.methods.{METHODS[name]}")
    method: FingerprintMethod = module.METHOD
    return method
