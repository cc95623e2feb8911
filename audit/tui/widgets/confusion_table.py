"""Control images by true class and answered class."""

from rich.table import Table
from rich.text import Text
from textual.content import Content
from textual.widgets import Static

from adapters.printable import printable
from audit.verdict.control_confusion import ControlConfusion

MAX_CLASSES = 20


class ConfusionTable(Static):
    """One row per true class, one column per answered class; the diagonal is right."""

    DEFAULT_CSS = "ConfusionTable { height: auto; padding: 0 1; }"

    def show(self, confusion: ControlConfusion, names: tuple[str, ...]) -> None:
        """Draw it.

        Args:
            confusion: Counts, ``[K, K]``.
            names: The K classes.
        """
        shown = [index for index in range(len(names)) if confusion.counts[index].any()]
        table = Table(
            title="true class by row, answer by column",
            title_justify="left",
            box=None,
            padding=(0, 1),
        )
        table.add_column("")
        columns = [index for index in range(len(names)) if confusion.counts[:, index].any()][
            :MAX_CLASSES
        ]
        for index in columns:
            table.add_column(Text(printable(names[index])[:8]), justify="right")
        for row in shown[:MAX_CLASSES]:
            cells = [
                Text(
                    str(confusion.counts[row, column] or "·"),
                    style="bold" if row == column else "",
                )
                for column in columns
            ]
            table.add_row(Text(printable(names[row])[:14]), *cells)
        if len(shown) > MAX_CLASSES:
            table.add_row(Text(f"... {len(shown) - MAX_CLASSES} more"))
        self.update(table)


def likely_causes(confusion: ControlConfusion) -> Content:
    """Return what may be wrong, a line per cause under a heading."""
    return Content.assemble(
        Content.styled("What to look at", "bold $primary"),
        "".join(f"\n· {printable(cause)}" for cause in confusion.likely_causes),
        "\n",
    )
