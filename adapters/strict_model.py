"""A pydantic model of what comes from outside: no field unknown, none changed afterwards."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Base of every table of the file: frozen, nothing unknown, nothing coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
