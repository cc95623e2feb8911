"""Before an endpoint is asked: say what it takes, and get a yes where it costs money."""

import contextlib
import re
import sys
from decimal import Decimal, InvalidOperation

import click

from adapters.printable import printable
from adapters.tariff import Tariff, money
from audit.asking.cost import SpendingPlan


def amount(text: str) -> Decimal:
    """Return an amount of money above zero, exact to the last digit.

    Raises:
        click.UsageError: It is none.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise click.UsageError(
            f"--max-cost: expected an amount above 0, such as 2.50, got {text!r}"
        )
    return value


def agree(
    name: str,
    plan: SpendingPlan,
    *,
    is_resumed: bool,
    has_budget: bool,
    is_agreed: bool,
    is_quiet: bool,
) -> None:
    """Tell what an audit takes, and ask whether to start where it costs money.

    Args:
        name: What to call the endpoint.
        plan: What it takes.
        is_resumed: Whether some of it may be answered already.
        has_budget: Whether the auditor limited the questions.
        is_agreed: Do not ask (``--yes``).
        is_quiet: Tell nothing that need not be answered.

    Raises:
        click.ClickException: Nobody agreed; nothing was sent.
    """
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    whole = "the whole audit, earlier answers included, " if is_resumed else ""
    told = f"{printable(name)}: {whole}{plan.estimate.text}"
    if plan.limits.max_cost is not None:
        told += f"; stops at {money(plan.limits.max_cost, plan.tariff.currency)}"
    if plan.limits.max_requests is not None:
        told += f"; stops after {plan.limits.max_requests} requests"
    if is_agreed or plan.tariff.is_free:
        if not is_quiet and (is_terminal or not plan.tariff.is_free):
            click.echo(told, err=True)
        return
    if is_terminal:
        click.echo(told, err=True)
        if click.confirm("Start?", default=False, err=True):
            return
        raise click.ClickException("not started; nothing was sent")
    if plan.limits.are_set or has_budget:
        if not is_quiet:
            click.echo(told, err=True)
        return
    raise click.ClickException(
        f"{told}. Nobody is here to agree to that and nothing limits it: give --max-cost, "
        "--max-requests or --budget, or --yes. Nothing was sent."
    )


def price_per_image(text: str | None) -> Tariff:
    """Read what an image costs: an amount and a currency.

    Raises:
        click.UsageError: It is not that.

    Example:
        >>> price_per_image("0.002 USD").cost(1, 10)
        Decimal('0.020')
    """
    if text is None:
        return Tariff()
    given, _, currency = text.strip().partition(" ")
    with contextlib.suppress(InvalidOperation):
        price = Decimal(given)
        if price.is_finite() and price > 0 and re.fullmatch("[A-Z]{3}", currency):
            return Tariff(per_image=price, currency=currency)
    raise click.UsageError(
        f"--price: expected an amount and a currency, such as '0.002 USD', got {text!r}"
    )
