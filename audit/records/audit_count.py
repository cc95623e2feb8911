"""Which audit of its suspect by its bundle a record is about, in the auditor's journal."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from adapters.strict_model import FrozenModel


class AuditCount(FrozenModel):
    """One of several audits, those included that nobody finished."""

    number: Annotated[int, Field(ge=1)]
    total: Annotated[int, Field(ge=1)]
    """Audits that were begun by the time of signing, also those that the journal forgot."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "AuditCount":
        if self.number > self.total:
            raise PydanticCustomError(
                "count",
                "expected a number of at most {total}, got {number}",
                {"total": self.total, "number": self.number},
            )
        return self

    @property
    def sentence(self) -> str:
        """Return it in words."""
        return f"audit {self.number} of {self.total} of this suspect in this journal"
