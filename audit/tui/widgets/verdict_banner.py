"""The verdict so far or at last, in words, with what it rests on."""

from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from adapters.printable import printable
from audit.tui.words import VERDICT_COLOURS, VERDICT_SIGNS
from audit.verdict.outcome import Verdict


@dataclass(frozen=True, kw_only=True)
class BannerData:
    """What to say."""

    headline: str
    rests_on: str = ""
    verdict: Verdict | None = None
    """None while there is none."""
    is_final: bool = False


class VerdictBanner(Static):
    """Says `data`; a verdict that can still change is marked as such.

    Args:
        is_steady: Its height is fixed, so that many changes a second cost no new layout.
    """

    DEFAULT_CSS = """
    VerdictBanner { height: auto; padding: 0 1; border-left: thick $panel; }
    VerdictBanner.-derived { border-left: thick $error; }
    VerdictBanner.-independent { border-left: thick $success; }
    VerdictBanner.-inconclusive { border-left: thick $warning; }
    VerdictBanner.-not-comparable { border-left: thick $secondary; }
    """

    data: reactive[BannerData | None] = reactive(None, init=False)

    def __init__(self, *, id: str | None = None, is_steady: bool = False) -> None:
        super().__init__(id=id)
        self._is_steady = is_steady

    def watch_data(self, data: BannerData | None) -> None:
        """Say it."""
        for verdict in Verdict:
            self.set_class(
                data is not None and data.verdict is verdict,
                f"-{verdict.value.replace(' ', '-')}",
            )
        if data is None:
            self.update("")
            return
        parts: list[Content] = []
        if data.verdict is not None:
            name = data.verdict.value.upper() if data.is_final else f"so far {data.verdict.value}"
            parts.append(
                Content.styled(
                    f"{VERDICT_SIGNS[data.verdict]} {name}",
                    f"bold ${VERDICT_COLOURS[data.verdict]}",
                )
            )
            parts.append(Content("  "))
        parts.append(Content.styled(printable(data.headline), "bold" if data.is_final else ""))
        if data.rests_on:
            parts.append(Content("\n"))
            parts.append(Content(printable(data.rests_on)))
        self.update(Content.assemble(*parts), layout=not self._is_steady)
