"""A checkbox whose state can be read without colours."""

from textual.content import Content
from textual.widgets import Checkbox


class Check(Checkbox):
    """Shows ``[x]`` or ``[ ]`` before its label."""

    @property
    def _button(self) -> Content:
        style = self.get_visual_style("toggle--button")
        return Content.styled("[x]" if self.value else "[ ]", style)
