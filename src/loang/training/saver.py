"""What a run saves, written in a thread beside training: checkpoints, model file, snapshots."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from torch import Tensor

from loang.errors import LoangError
from loang.files import check_space
from loang.training import checkpoint
from loang.training.checkpoint import Checkpoint

WriteModel = Callable[[Mapping[str, Tensor]], None]
RESERVE = 2**20  # bytes left for logs and pictures


class Saver:
    """Saves one state of a run after another, one at a time.

    Training waits only while the state's tensors are copied, and for a save before it that is not
    over yet. What fails is kept until somebody asks, and harms nothing that was saved before.

    Args:
        folder: of the checkpoints.
        keep: how many of the newest stay, beside the best.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self._failures: list[LoangError] = []
        self._thread: threading.Thread | None = None

    def save(
        self, step: int, state: Checkpoint, write_model: WriteModel, best: Iterable[int] = ()
    ) -> None:
        """Copy a state, and begin to write it; that it fails is told by `failures`.

        Args:
            step: of the optimizer.
            state: its file `ema` holds the weights that the model file gets.
            write_model: writes the model file with these weights of the network.
            best: steps whose checkpoints stay.
        """
        self.wait()
        with self._kept():
            copied, stay = checkpoint.snapshot(state), tuple(best)
            self._start(lambda: self._write(step, copied, write_model, stay))

    def save_beside(self, size: int, write: Callable[[], None]) -> None:
        """Begin to write something else: whole before any later checkpoint is.

        Args:
            size: bytes that it takes.
            write: called in the thread; all that it needs is copied already.
        """
        self.wait()

        def checked() -> None:
            with self._kept():
                check_space(self.folder, size + RESERVE)
                write()

        self._start(checked)

    def _start(self, work: Callable[[], None]) -> None:
        # A daemon: a second Ctrl-C need not wait for a slow disk.
        self._thread = threading.Thread(target=work, name="loang saver", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def after(self, then: Callable[[], object]) -> None:
        """Call this when nothing is being written: now, or at the end of the thread."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            then()
            return

        def wait() -> None:
            thread.join()
            then()

        threading.Thread(target=wait, daemon=True).start()

    def failures(self) -> list[LoangError]:
        """What failed since the last call."""
        failed: list[LoangError] = []
        while self._failures:
            failed.append(self._failures.pop(0))
        return failed

    def _write(
        self, step: int, state: Checkpoint, write_model: WriteModel, best: tuple[int, ...]
    ) -> None:
        with self._kept():
            check_space(self.folder, checkpoint.size(state) + RESERVE)
            checkpoint.save(self.folder, step, state)
            checkpoint.rotate(self.folder, self.keep, (*best, step))
        with self._kept():
            write_model(state.tensors["ema"])

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Whatever is raised is kept: nobody listens in this thread."""
        try:
            yield
        except LoangError as error:
            self._failures.append(error)
        except Exception as error:
            self._failures.append(
                LoangError(
                    f"Something was not saved: {type(error).__name__}: {error}.",
                    "Please report this.",
                )
            )
