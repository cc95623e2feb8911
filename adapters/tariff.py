"""What a vendor's requests cost, in exact decimals."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

ChargedFor = Literal["attempts", "answers"]


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """Prices of one endpoint."""

    per_request: Decimal = Decimal(0)
    per_image: Decimal = Decimal(0)
    """Added to `per_request` for each image in it."""
    currency: str = ""
    """ISO 4217 code; empty where nothing costs anything."""
    charged_for: ChargedFor = "attempts"
    """``attempts``: whatever is sent; ``answers``: not what was answered with an error."""

    @property
    def is_free(self) -> bool:
        """Whether asking costs nothing, as far as the endpoint file says."""
        return not (self.per_request or self.per_image)

    def cost(self, num_requests: int, num_images: int) -> Decimal:
        """Return the price of requests with so many images in all of them together.

        Example:
            >>> Tariff(per_request=Decimal("0.001"), currency="USD").cost(350, 350)
            Decimal('0.350')
        """
        return self.per_request * num_requests + self.per_image * num_images

    def is_charged(self, status: int | None) -> bool:
        """Tell whether a request that ended so is paid.

        Args:
            status: HTTP status; None where no answer came, which may well have been paid.
        """
        return self.charged_for == "attempts" or status is None or 200 <= status < 300


@dataclass(frozen=True, kw_only=True)
class SpendingLimits:
    """What one audit may send and cost, all its runs together; None for no limit."""

    max_requests: int | None = None
    max_cost: Decimal | None = None
    """In the tariff's currency."""

    @property
    def are_set(self) -> bool:
        """Whether there is any limit."""
        return self.max_requests is not None or self.max_cost is not None

    def unless(self, given: "SpendingLimits") -> "SpendingLimits":
        """Return these limits, but those that are given where they are."""
        return SpendingLimits(
            max_requests=self.max_requests if given.max_requests is None else given.max_requests,
            max_cost=self.max_cost if given.max_cost is None else given.max_cost,
        )


def money(amount: Decimal, currency: str) -> str:
    """Return an amount for people.

    Example:
        >>> money(Decimal("0.3500"), "USD"), money(Decimal("12"), "EUR")
        ('0.35 USD', '12.00 EUR')
    """
    shown = amount.normalize()
    exponent = shown.as_tuple().exponent
    digits = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{shown:.{digits}f} {currency}".rstrip()
