"""Pages of a screen under tabs, laid when what they show was read."""

from collections.abc import Iterable
from typing import Any

from textual.screen import Screen
from textual.widgets import TabbedContent, TabPane


async def lay_pages(screen: Screen[Any], panes: Iterable[TabPane]) -> None:
    """Put pages in the place of a screen's ``#pages``, below its ``#banner``.

    Args:
        screen: Whose; nothing happens where it is being left.
        panes: In the order of their tabs.
    """
    # All at once: a pane that is added to a screen that somebody leaves meanwhile looks for
    # its tab, which is gone, and the app ends with a traceback.
    pages = TabbedContent(id="pages")
    for pane in panes:
        pages.compose_add_child(pane)
    async with screen.batch():
        await screen.query("#pages").remove()
        if screen.is_attached:
            await screen.mount(pages, after="#banner")
