"""`loang doctor --cache`: what lies in the cache, and clearing it."""

import json as as_json
import sys

import typer

from loang.errors import LoangError


def show_cache(target: str | None, *, listed: bool, clear: bool, yes: bool, json: bool) -> None:
    """List the cache, or delete all of it after asking.

    Raises:
        LoangError: the options contradict one another, or the cache can't be changed.
    """
    from loang import files
    from loang.cli.console import say
    from loang.data import cache
    from loang.data.environment import cache_folder

    if not listed:
        raise LoangError("--clear goes with --cache.", "Write loang doctor --cache --clear.")
    if target is not None:
        raise LoangError(
            f"The cache is one, whatever {target} is.", "Write loang doctor --cache alone."
        )
    there = cache.kept()
    total = sum(each.bytes for each in there)
    if json and not clear:
        typer.echo(
            as_json.dumps(
                {
                    "folder": str(cache_folder()),
                    "bytes": total,
                    "kept": [each.to_dict() for each in there],
                },
                indent=1,
            )
        )
        return
    if not json:
        for each in there:
            say(str(each))
        say(
            f"{files.amount(total):>12}  in all, in {files.shown(cache_folder())}"
            if there
            else f"Nothing lies in the cache, {files.shown(cache_folder())}."
        )
    if not clear:
        if there and not json:
            say()
            say("All of it is made or fetched anew when it is needed; --clear deletes it.")
        return
    if not there and not json:
        return
    if there and not yes and not _agrees(files.amount(total)):
        say("Nothing was deleted.")
        return
    freed = cache.clear()
    if json:
        typer.echo(as_json.dumps({"folder": str(cache_folder()), "freed": freed}))
    else:
        left = "" if freed >= total else f"; {files.amount(total - freed)} can't be deleted"
        say(f"{files.amount(freed)} were freed{left}.")


def _agrees(size: str) -> bool:
    """Asks on a terminal.

    Raises:
        LoangError: there is none, so nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise LoangError(
            f"Nobody can be asked whether {size} may be deleted: this is no terminal.",
            "Add --yes to delete it.",
        )
    return typer.confirm(f"Delete {size}?", default=False)
