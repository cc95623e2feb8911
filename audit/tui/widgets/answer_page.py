"""Third page of a result: every answer as a sign, and the question behind one of them."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from audit.bundle.manifest import BundleContents
from audit.tui.live_state import mark_of
from audit.tui.looking import looked_at
from audit.tui.result_data import ResultData
from audit.tui.widgets.image_pair import ImagePair
from audit.tui.widgets.query_grid import QueryGrid


class AnswerPage(Container):
    """Begins at the answer that says most.

    Args:
        data: Whose answers.
        bundle: Its bundle.
        id: The page's.
    """

    def __init__(self, data: ResultData, bundle: BundleContents, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._data, self._bundle = data, bundle

    def compose(self) -> ComposeResult:
        """Lay out the signs beside the image."""
        yield Vertical(QueryGrid(id="grid"), classes="panel")
        yield Vertical(ImagePair(id="pair"), classes="panel")

    def on_mount(self) -> None:
        """Show all of them, and one in full."""
        grid = self.query_one(QueryGrid)
        grid.questions = tuple(row.question for row in self._data.record.rows)
        grid.marks = {
            question: mark_of(self._bundle, question, answer.label)
            for question, answer in self._data.answers.items()
        }
        if first := most_telling(self._data):
            grid.chosen = first
            self._look(first)

    @on(QueryGrid.Chosen)
    def _chosen(self, event: QueryGrid.Chosen) -> None:
        self._look(event.question)

    def _look(self, question: str) -> None:
        label = self._data.answers[question].label
        self.query_one(ImagePair).looked = looked_at(self._bundle, question, label)


def most_telling(data: ResultData) -> str | None:
    """Return the question whose answer says most; the first one without evidence."""
    if data.evidence is not None and len(data.evidence.queries):
        place = data.evidence.weights.argmax()
        return f"query/{data.evidence.queries[place]}"
    return data.record.rows[0].question if data.record.rows else None
