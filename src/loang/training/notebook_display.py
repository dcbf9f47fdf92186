"""What a person sees while training runs in a notebook: a bar below the cell, in place."""

import html
import sys
from importlib import import_module
from types import TracebackType
from typing import Any

from loang.training.display import Display, Measurement


class NotebookDisplay(Display):
    """One output of the cell, written anew: a bar, where training stands, and lines that stay.

    It needs IPython alone, which a notebook has, and none of its widgets.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._last: Measurement | None = None
        self._output: Any = None

    def __enter__(self) -> "NotebookDisplay":
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show()

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._lines.append(line)
        self._show()

    def measure(self, measurement: Measurement) -> None:
        """Move the bar."""
        self._last = measurement
        self._show()

    def _show(self) -> None:
        shows: Any = import_module("IPython.display")  # there, wherever a notebook is
        if self._output is None:
            self._output = shows.display(shows.HTML(self.page), display_id=True)
        else:
            self._output.update(shows.HTML(self.page))

    @property
    def page(self) -> str:
        """What is shown, as HTML."""
        said = "".join(f"<div>{html.escape(line)}</div>" for line in self._lines)
        share = 0.0 if self._last is None else min(1.0, max(0.0, self._last.share))
        where = "starting" if self._last is None else f"{share:.0%}  {self._last}"
        bar = f'<progress value="{share:.4f}" max="1"></progress>'
        return f"<div>{said}<div>{bar} <code>{html.escape(where)}</code></div></div>"


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, Jupyter's, Colab's or another."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


def of_python() -> Display:
    """Where no display was asked for: a bar in a notebook, nothing elsewhere."""
    return NotebookDisplay() if in_notebook() else Display()
