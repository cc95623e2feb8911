"""A pydantic model of what comes from outside: no field unknown, none changed afterwards."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Base of every table and document: frozen, nothing unknown, nothing coerced, all finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
