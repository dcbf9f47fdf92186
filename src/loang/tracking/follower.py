"""A tracker is brought to what a run's folder holds: its log, its pictures, its model."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loang import files, untrusted
from loang.tracking.names import note_of
from loang.tracking.tracker import End, Record, Subject, Tracker, step_of

FORMAT = 1
_PREVIEW = re.compile(r"\d{8}\.png")
_KINDS: dict[str, Any] = {
    "identity": str | None,
    "size": int,
    "digest": str,
    "rows": int,
    "preview": int,
    "sure": bool,
    "shown": dict,
}
NOTHING = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class Note:
    """What a tracker was told, kept in RUN/tracking/NAME.json.

    Args:
        identity: by which the tracker finds the run again; None before it was ever opened.
        size: bytes of log.jsonl that were told.
        digest: SHA-256 of these.
        rows: records and pictures told.
        preview: step of the last preview that was shown.
        sure: False while something is told: it may be there or not.
        shown: SHA-256 of each file that was shown when a session ended, by the file's name.
    """

    identity: str | None = None
    size: int = 0
    digest: str = NOTHING
    rows: int = 0
    preview: int = -1
    sure: bool = True
    shown: Mapping[str, str] = field(default_factory=dict)


class Follower:
    """Tells a tracker what is new in a run's folder.

    Args:
        tracker: checked, and not opened yet.
        name: of the tracker.
        folder: of the run.
        anew: whether the run begins: what a note says is of another one.
    """

    def __init__(self, tracker: Tracker, name: str, folder: Path, *, anew: bool) -> None:
        self.tracker = tracker
        self.run = Subject.of(folder)
        self.path = note_of(folder, name)
        self.note = Note() if anew else self._read()
        self._log = folder / "log.jsonl"
        self._samples = folder / "samples"
        self._seen: tuple[int, ...] | None = None
        self._step = 0

    def open(self) -> None:
        """Begin in the tracker, or go on with what was told before."""
        identity = self.tracker.open(self.run, self.note.identity, self.note.rows)
        self._write(identity=identity)

    def look(self) -> None:
        """Tell what has come since the last look; all, where what was told holds no more."""
        content = self._content()
        if content is not None:
            told = content[: self.note.size]
            if not self.note.sure or hashlib.sha256(told).hexdigest() != self.note.digest:
                self._begin_again()
                told = b""
            self._tell(content, told)
        self._show_previews()

    def end(self, end: End) -> None:
        """The last pictures and the model of a run that is finished; then the end itself.

        A finished run may be gone on with, and finish again: what is as it was is told once.
        """
        self.look()
        if end == "finished":
            folder = self.run.folder
            for title, name in (("samples", "samples.png"), ("walk", "walk.gif")):
                if shown := self._new(folder / name):
                    self._show(title, folder / name, self._step)
                    self._write(shown=shown)
            if shown := self._new(folder / files.MODEL):
                self.tracker.keep(folder / files.MODEL)
                self._write(shown=shown)
        self.tracker.close(end)

    def _new(self, path: Path) -> dict[str, str] | None:
        """All that is shown once this file is; None where it is shown already, or not there."""
        if not path.exists():
            return None
        shown = {**self.note.shown, path.name: files.sha256(path)}
        return None if shown == self.note.shown else shown

    def _begin_again(self) -> None:
        self.tracker.discard()
        self.note = Note()
        self.open()

    def _tell(self, content: bytes, told: bytes) -> None:
        records = list(_records(content[len(told) :]))
        if records:
            self._write(sure=False)
            self.tracker.tell(records)
        self._step = max((step_of(record) for record in _records(content)), default=0)
        if len(content) != len(told):
            self._write(
                sure=True,
                size=len(content),
                digest=hashlib.sha256(content).hexdigest(),
                rows=self.note.rows + len(records),
            )

    def _show_previews(self) -> None:
        if not self._samples.is_dir():
            return
        for path in sorted(self._samples.iterdir()):
            # One that is later than the log is left from a session that was cut.
            if _PREVIEW.fullmatch(path.name) and self.note.preview < int(path.stem) <= self._step:
                self._show("previews", path, int(path.stem))
                self._write(preview=int(path.stem))

    def _show(self, title: str, path: Path, step: int) -> None:
        self._write(sure=False)
        self.tracker.show(title, path, step)
        self._write(sure=True, rows=self.note.rows + 1)

    def _content(self) -> bytes | None:
        """The log's whole lines; None where it has not changed."""
        try:
            found = self._log.stat()
        except FileNotFoundError:
            return None
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return None
        content = self._log.read_bytes()
        self._seen = seen
        return content[: content.rfind(b"\n") + 1]

    def _read(self) -> Note:
        """What was noted; where that can't be read, nothing was told."""
        try:
            found = untrusted.read_json(self.path)
        except (OSError, ValueError):
            return Note()
        # A note of an earlier loang lacks what has been added since.
        values: dict[str, Any] = {**asdict(Note()), **found}
        values = {key: values[key] for key in _KINDS}
        whole = all(isinstance(values[key], kind) for key, kind in _KINDS.items())
        return Note(**values) if whole and found.get("format") == FORMAT else Note()

    def _write(self, **changes: object) -> None:
        self.note = replace(self.note, **changes)  # type: ignore[arg-type]
        files.write_text(self.path, json.dumps({"format": FORMAT, **asdict(self.note)}) + "\n")


def _records(content: bytes) -> Iterator[Record]:
    for line in content.decode("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
