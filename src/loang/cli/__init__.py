"""The command line: one file a verb. It parses, calls the Python API and prints."""

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer

from loang.errors import LoangError, LoangWarning

MISTYPED: Any = typer.BadParameter.__base__
"""What a slip in a command's syntax raises; typer has no name of its own for it."""

UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How a system refuses what is printed; of a file that loang writes itself, that is told there."""

_shown_otherwise = warnings.showwarning


def main() -> None:
    """`loang`, `python -m loang`: prints a LoangError as two sentences, and exits with its status.

    With --debug anywhere on the command line, errors show where they come from.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A sign that a terminal can't show, in the name of a file perhaps, stops nothing.
            stream.reconfigure(errors="replace")
    warnings.showwarning = _show_warning
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    from loang.cli.app import app
    from loang.cli.together import check_alone, follows, is_told

    try:
        check_alone(next((each for each in arguments if not each.startswith("-")), None))
        # By itself, typer prints what was mistyped, and help; of many processes, the leading one.
        silent = (
            contextlib.redirect_stdout(io.StringIO()) if follows() else contextlib.nullcontext()
        )
        with silent, _reaching():
            status = app(arguments, prog_name="loang", standalone_mode=not follows())
        sys.exit(status if isinstance(status, int) else 0)
    except MISTYPED as error:
        sys.exit(error.exit_code)
    except LoangError as error:
        if debug:
            raise
        with contextlib.suppress(OSError):  # a terminal that has gone away
            if not is_told(error):
                print(f"loang: {error}".rstrip(), file=sys.stderr)
        sys.exit(getattr(error, "exit_status", 2))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `loang ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if debug or error.filename is not None or error.errno not in UNWRITTEN:
            raise
        reason = error.strerror
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            print(f"loang: What it prints can't be written: {reason}.", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """A place that the system refuses even to look at, as a person's mistake."""
    try:
        yield
    except PermissionError as error:
        if error.filename is None:
            raise
        raise LoangError(
            f"{error.filename} can't be read or written: {error.strerror}.",
            "Name a place in a folder that you may enter, read and write.",
        ) from error


def _show_warning(
    message: Warning | str, category: type[Warning], *where: Any, **more: Any
) -> None:
    """What loang warns of, as a line without its place in the code."""
    if not issubclass(category, LoangWarning):
        return _shown_otherwise(message, category, *where, **more)
    with contextlib.suppress(OSError):
        print(f"loang: {message}", file=sys.stderr)
    return None
