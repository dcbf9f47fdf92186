"""What of a run is sent to the hub, with nothing in it that tells of somebody's folders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loang import config, files, tensors, untrusted
from loang.config import Settings
from loang.errors import LoangError
from loang.evaluation import output
from loang.files import MODEL
from loang.hub.address import is_hub
from loang.identity import weights_digest
from loang.interop.hub.private import Private, last
from loang.model import Model
from loang.named import located
from loang.training.folder import CONFIG, RunFolder
from loang.training.places import KEYS, PLACES

EVALUATION = "evaluation"
"""The folder of a run's report, in the run and in the repository."""
README = "README.md"
KNOWN_DATA = {"fashion-mnist": ("zalando-datasets/fashion_mnist", "MIT")}
"""Data sets whose pictures anybody has and may show: on the hub, and their licence."""
_METADATA = "loang"
_PICTURES = (b"\x89PNG", b"GIF8")
"""What the files of pictures begin with."""


@dataclass(frozen=True)
class Sent:
    """A file as it is sent.

    Args:
        name: its path in the repository.
        content: the file itself, or the bytes that are sent in its place.
        cleaned: whether folders were taken out of it.
    """

    name: str
    content: Path | bytes
    cleaned: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True)
class Contents:
    """A run, ready to be sent.

    Args:
        model: with settings and facts as they are sent.
        files: all but the card.
        report: of its evaluation, as plain values; None where there is none of these weights.
        said: what the evaluation says, in sentences.
        notices: what a person should know: what is left out, and why.
        private: takes folders out of texts.
    """

    model: Model
    files: tuple[Sent, ...]
    report: Mapping[str, Any] | None
    said: tuple[str, ...]
    notices: tuple[str, ...]
    private: Private

    @property
    def names(self) -> set[str]:
        """Of the files."""
        return {file.name for file in self.files}


def gather(run: str | Path, scratch: Path) -> Contents:
    """What is sent of a run's folder, or of a model file alone.

    Checkpoints, the log, averages and pictures of training images stay.

    Args:
        run: the folder, or the file.
        scratch: a folder for a model file that is written anew, without somebody's folders.

    Raises:
        LoangError: there is no model, it is of the hub, or something of it can't be read.
    """
    if is_hub(run):
        raise LoangError(f"{run} is on the hub already.", "Name a run's folder, or a model file.")
    path = located(run)
    model = Model.load(path, on="cpu")
    folder = RunFolder(path) if path.is_dir() else None
    file = folder.model if folder else path
    about = _config(folder)
    data = model.settings.data
    places = about.get(PLACES)
    noted = list(places.values()) if isinstance(places, dict) else []
    measured = _measured(path / EVALUATION) if folder else None
    private = Private(
        [
            data.source,
            data.labels_file,
            None if measured is None else measured.source,
            *(str(place) for place in noted),
            *(str(each) for each in (path, path.absolute())),
        ],
        None if measured is None else measured.command,
    )
    settings = config.load(_without_places(model.settings.to_dict()))
    clean = replace(model, settings=settings, facts=private.value(dict(model.facts)))
    found = [_model(file, clean.facts, scratch)]
    notices: list[str] = []
    report: Mapping[str, Any] | None = None
    said: tuple[str, ...] = ()
    if folder is not None:
        if about:
            found.append(_json(CONFIG, folder.config, _sent_config(about, private), about))
        for each in (folder.grid, folder.walk, folder.chart):
            if _is_picture(each):
                found.append(Sent(each.name, each))
            elif each.exists():
                notices.append(f"{each} is no picture, or a link: it is not sent.")
        if measured is not None:
            report, said, sent, told = _evaluation(measured, model, private)
            found += sent
            notices += told
    return Contents(clean, tuple(found), report, said, tuple(notices), private)


def data_known(settings: Settings) -> tuple[str, str] | None:
    """The name on the hub, and the licence, of data that anybody has; None of all others."""
    source = settings.data.source
    return None if source is None else KNOWN_DATA.get(source.lower().replace("_", "-"))


def _config(folder: RunFolder | None) -> dict[str, Any]:
    if folder is None or not folder.config.exists():
        return {}
    _, about = folder.read_config("to send")
    return dict(about)


def _without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they stand in a file, without the folders of images and labels."""
    data = dict(settings["data"])
    return {**settings, "data": data | {key: last(data[key]) for key in KEYS if key in data}}


def _model(file: Path, facts: Mapping[str, Any], scratch: Path) -> Sent:
    """The model file: itself, where its texts are as they are sent."""
    try:
        stored = tensors.look(file)
        about = untrusted.parse_json(stored.metadata[_METADATA])
        wanted = about | {"settings": _without_places(about["settings"]), "facts": dict(facts)}
        if wanted == about:
            return Sent(MODEL, file)
        place = scratch / MODEL
        with files.writing(place):
            tensors.save(place, stored.read(), {_METADATA: json.dumps(wanted)})
    except (OSError, ValueError, KeyError) as error:
        raise LoangError(f"{file} can't be read: {error}.", "Make it again.") from error
    return Sent(MODEL, place, cleaned=True)


def _sent_config(about: Mapping[str, Any], private: Private) -> dict[str, Any]:
    """A run's config.json as it is sent."""
    clean = {key: {} if key == PLACES else private.value(each) for key, each in about.items()}
    clean["settings"] = _without_places(about["settings"])
    clean["images"] = about["images"]  # names of classes are no folders
    return clean


def _json(name: str, path: Path, values: Any, own: Any) -> Sent:
    """A file of these values: its own, where they are those that it has."""
    if values == own:
        return Sent(name, path)
    return Sent(name, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode(), True)


@dataclass(frozen=True)
class _Measured:
    """An evaluation as it lies on the disk.

    Args:
        folder: of it.
        report: its plain values.
        text: the report in Markdown.
        weights: the digest of those that were measured.
        learned: the fingerprint of the images.
    """

    folder: Path
    report: dict[str, Any]
    text: str
    weights: Any
    learned: Any

    @property
    def source(self) -> str | None:
        """The place of the images, which may be another than the model's."""
        return _text(self.report["data"].get("source"))

    @property
    def command(self) -> str | None:
        """The one that measured."""
        made = self.report.get("provenance")
        return _text(made.get("command")) if isinstance(made, dict) else None


def _measured(folder: Path) -> _Measured | None:
    """The evaluation of a folder; None where there is none."""
    path, page = folder / output.REPORT, folder / output.MARKDOWN
    if not path.is_file():
        return None
    try:
        report = untrusted.read_json(path)
        weights, learned = report["subject"].get("weights"), report["data"]["fingerprint"]
        if page.is_symlink():
            raise ValueError(f"{page.name} is a link")
        text = untrusted.read_bytes(page, largest=untrusted.LARGEST_JSON).decode("utf-8")
        return _Measured(folder, report, text, weights, learned)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoangError(
            f"The evaluation in {folder} can't be read: {error}.",
            "Make it again with `loang evaluate`, or remove it.",
        ) from error


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _evaluation(
    measured: _Measured, model: Model, private: Private
) -> tuple[Mapping[str, Any] | None, tuple[str, ...], list[Sent], list[str]]:
    """The report, its sentences, its files and what to know; nothing of another model's."""
    folder, report, text = measured.folder, measured.report, measured.text
    path, page, picture = (folder / name for name in (output.REPORT, output.MARKDOWN, output.PAGE))
    if measured.weights != weights_digest(model):
        told = f"The evaluation in {folder} is of other weights than the model's: it is not sent."
        return None, (), [], [told]
    clean = private.value(report)
    sent = [_json(f"{EVALUATION}/{output.REPORT}", path, clean, report)]
    notices = []
    shows = data_known(model.settings) and measured.learned == model.facts.get("fingerprint")
    lines = text.splitlines()
    if shows and _is_picture(picture):
        sent.append(Sent(f"{EVALUATION}/{output.PAGE}", picture))
    elif picture.is_file():
        lines = [line for line in lines if f"({output.PAGE})" not in line]
        notices.append(f"{picture} stays here: it shows training images.")
    cleaned = private.text("\n".join(lines) + "\n")
    sent.append(
        Sent(f"{EVALUATION}/{output.MARKDOWN}", page)
        if cleaned == text
        else Sent(f"{EVALUATION}/{output.MARKDOWN}", cleaned.encode(), True)
    )
    return clean, _sentences(cleaned), sent, notices


def _is_picture(path: Path) -> bool:
    """Whether it is one, and lies there itself: a link in a stranger's run may lead anywhere."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _PICTURES


def _sentences(page: str) -> tuple[str, ...]:
    """Those that the report begins with."""
    found = []
    for line in page.splitlines()[2:]:
        if not line.startswith("- "):
            break
        found.append(line.removeprefix("- "))
    return tuple(found)
