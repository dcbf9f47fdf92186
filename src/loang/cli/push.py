"""`loang push`."""

from typing import Annotated

import typer


def push(
    run: Annotated[str, typer.Argument(help="A run's folder, or a model file.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub.")],
    license: Annotated[
        str | None,
        typer.Option(help="The model's, as the hub calls it: mit.", show_default="none is stated"),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="A branch, made if need be.", show_default="main")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that no push has written.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files and the card; send nothing.")
    ] = False,
) -> None:
    """Send a run to the Hugging Face hub: model, card, pictures, evaluation.

    Log in with `hf auth login` first. Folders of this machine are taken out of what is sent.
    """
    from loang.cli.console import resumable, say
    from loang.files import amount
    from loang.interop.hub.push import ready

    with ready(run, repo, license=license, revision=revision) as prepared:
        for file in prepared.files:
            cleaned = "  (folders taken out)" if file.cleaned else ""
            say(f"  {file.name}  {amount(file.size)}{cleaned}")
        for notice in prepared.contents.notices:
            say(notice)
        if dry_run:
            say()
            say(prepared.readme)
            return
        with resumable("sent"):
            done = prepared.send(private=private, message=message, overwrite=overwrite)
    for notice in done.notices:
        say(notice)
    say(f"Sent: {', '.join(done.sent)}." if done.sent else "Nothing has changed.")
    if done.removed:
        say(f"Removed, as it holds no longer: {', '.join(done.removed)}.")
    say(f"  {done.url}")
    say(f"  loang sample {done.address}")
