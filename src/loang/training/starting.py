"""A run up to its first step: what can be wrong is found here."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from loang.config import Settings
from loang.data.download import Progress
from loang.errors import LoangError
from loang.named import called, located
from loang.tracking.names import chosen
from loang.tracking.tracking import Tracking
from loang.training.asked import Asked, open_images, resolve
from loang.training.asked import resume as asked_again
from loang.training.folder import RunFolder
from loang.training.history import LENGTHS, STARTED_FROM, started_from, taken_up
from loang.training.places import PLACES, beside, meant, not_named_anew

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.model
    import loang.team.team
    import loang.training.run


def start(
    data: str | Path | None,
    out: str | Path | None,
    resume: bool,
    overwrite: bool,
    track: Sequence[str] | None,
    on_progress: Progress | None,
    team: "loang.team.team.Team | None",
    start_from: str | Path | None,
    **asked: Unpack[Asked],
) -> "loang.training.run.Run":
    """The run that `loang.start` gives, in the process that leads; see there.

    Raises:
        LoangError: a mistake in any of these.
    """
    if resume and overwrite:
        raise LoangError("A run can't be both resumed and overwritten.", "Choose one of the two.")
    model, settings, places = begun(data, start_from, resume=resume, **asked)
    folder = RunFolder(Path(out) if out is not None else default_folder(settings, start_from))
    gone = None
    track = [track] if isinstance(track, str) else track
    trackers, unsaid = chosen(track, folder.path, resume=resume)
    if resume:
        (stored, about), settings, places = gone_on_with(folder, data, **asked)
        gone = f"Name the images, wherever they are: loang train DATA --resume --out {folder.path}"
    else:
        folder.check(overwrite, settings.data.source)
        if start_from is not None:
            folder.check_apart(located(start_from))
        if start_from is not None and data is None:  # those that the model learned from
            gone = f"Name the images, wherever they are: loang train DATA --from {start_from}"
    folder.check_free()
    dataset = open_images(settings, on_progress, places=places, gone=gone)

    from loang.team.team import ALONE
    from loang.training.following import begin
    from loang.training.inheritance import described, heir, weights_of
    from loang.training.origin import about as about_now
    from loang.training.plan import prepare
    from loang.training.run import Run

    prepared = prepare(settings, dataset, team or ALONE)
    weights, notes, noted = None, list[str](), dict[str, str]()
    if model is not None:
        weights = weights_of(model, prepared.denoiser.network, dataset.spec)
        prepared = heir(prepared, model)
        noted = {STARTED_FROM: described(model.facts)}
    begin(prepared, places)
    # A run that is gone on with has its checkpoints already.
    notes += [] if resume else prepared.check_disk(folder.path)
    tracking = Tracking(trackers)
    unsaid += tracking.start(asked=track is not None)
    with contextlib.ExitStack() as undo:
        undo.callback(tracking.drop)
        lock = folder.claim()
        undo.callback(lock.release)
        if not resume:
            folder.start(overwrite)
            folder.write_config(prepared.settings, about_now(prepared, places) | noted)
        run = Run(prepared, folder, lock)
        run.notes += notes + unsaid
        run.reporter.history |= noted
        if weights is not None:
            with forgotten(folder):
                run.take(weights)
        if resume:
            run.reporter.history |= started_from(about)
            run.seeded = not (run.reporter.history or settings.distilled)
            run.restore()
            lengths = taken_up(run, stored.training.budget, about)
            _note_changes(folder, stored, settings, about, places, lengths)
        tracking.follow(folder.path, anew=not resume)
        run.reporter.tracking = tracking
        undo.pop_all()
    return run


@contextlib.contextmanager
def forgotten(folder: RunFolder) -> Iterator[None]:
    """What fails within it leaves no half of a run behind, which could not be gone on with."""
    try:
        yield
    except BaseException:
        folder.start(overwrite=True)
        raise


def begun(
    data: str | Path | None,
    start_from: str | Path | None,
    *,
    resume: bool = False,
    **asked: Unpack[Asked],
) -> tuple["loang.model.Model | None", Settings, dict[str, Any] | None]:
    """The model that a run starts from, or None; its settings; where its images lie, if noted.

    Raises:
        LoangError: a mistake in any of these.
    """
    if start_from is None:
        return None, resolve(data, **asked), None
    if resume:
        raise LoangError(
            "A run that is gone on with has weights of its own.",
            "Leave --from away, or name another folder with --out and leave --resume away.",
        )
    from loang.model import Model
    from loang.training.inheritance import settings_of

    path = located(start_from)
    model = Model.load(path, on="cpu")
    settings = settings_of(model, None if data is None else str(data), **asked)
    own, named = model.settings.data, (data, asked.get("labels_file"))
    return model, settings, not_named_anew(beside(path, own), own, settings.data, named)


def _note_changes(
    folder: RunFolder,
    stored: Settings,
    settings: Settings,
    about: Mapping[str, Any],
    places: Mapping[str, Any] | None,
    lengths: list[str],
) -> None:
    """Where the images have moved, or the length is another: so it is the next time."""
    now = meant(settings.data) | dict(places or {})
    budget = settings.training.budget
    if (settings.data, budget) != (stored.data, stored.training.budget) or now != (
        about.get(PLACES) or {}
    ):
        training = stored.training.model_copy(update={"budget": budget})
        moved = stored.model_copy(update={"data": settings.data, "training": training})
        others = {key: value for key, value in about.items() if key != LENGTHS}
        noted = {LENGTHS: lengths} if lengths else {}
        folder.write_config(moved, {**others, PLACES: now, **noted})


def gone_on_with(
    folder: RunFolder, data: str | Path | None, **asked: Unpack[Asked]
) -> tuple[tuple[Settings, Mapping[str, Any]], Settings, dict[str, Any]]:
    """What a folder says of its run; its settings for this session; where its images lie."""
    stored, about = folder.read_config()
    settings, named_anew = asked_again(stored, data, **asked), (data, asked.get("labels_file"))
    places = not_named_anew(about.get(PLACES), stored.data, settings.data, named_anew)
    return (stored, about), settings, places


def default_folder(settings: Settings, start_from: str | Path | None = None) -> Path:
    """`runs/DATA-PRESET`, or `runs/DATA-from-MODEL`."""
    name = Path(settings.data.source or "data").resolve().stem
    if start_from is None:
        return Path("runs") / f"{name}-{settings.preset}"
    return Path("runs") / f"{name}-from-{called(start_from)}"
