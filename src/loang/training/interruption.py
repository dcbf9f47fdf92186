"""Ctrl-C, SIGTERM, a closed terminal: the first asks a run to stop, the second stops it."""

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from loang import files
from loang.errors import LoangError

# Windows has no terminal that hangs up.
SIGNALS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


class Interrupted(LoangError):
    """A signal ended the run.

    Args:
        number: of the signal.
        out: the run's folder.
        kept: the sentence that says what is saved.
    """

    def __init__(self, number: int, out: Path, kept: str) -> None:
        super().__init__(
            f"Stopped by {signal.Signals(number).name}; {kept}",
            f"Go on with: loang train --resume --out {files.shown(out)}",
        )
        self.number = number
        self.out = out
        self.kept = kept
        self.exit_status = 128 + number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, self.out, self.kept)


class Interruption:
    """A context in which a first signal is remembered, and a second acts as it always does.

    Outside the main thread, where Python lets nobody handle signals, it remembers none.

    Args:
        at_once: the first also raises KeyboardInterrupt, whichever signal it is.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()
        if self.at_once:
            interrupt = KeyboardInterrupt()
            interrupt.exit_status = 128 + number  # type: ignore[attr-defined]
            raise interrupt

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            # None stands for one that no Python code has set.
            signal.signal(number, handler or signal.SIG_DFL)  # type: ignore[arg-type]
