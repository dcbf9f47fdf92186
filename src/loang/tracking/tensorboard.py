"""TensorBoard: event files in RUN/tensorboard, written without TensorFlow.

Scalars are float32 there: its server reads files of longer ones, and shows none of them.
"""

import json
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from loang.extras import require
from loang.tracking.tracker import End, Record, Subject, Tracker, numbers, step_of, words

FOLDER = "tensorboard"
PATTERN = f"events.out.tfevents.{10 * '[0-9]'}.loang"


class TensorBoard(Tracker):
    """One folder of event files."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._folder = Path()
        self._out: Any = None
        self._last = 0

    def check(self) -> None:
        """Whether the package is there."""
        self._events = _part("compat.proto.event_pb2")
        self._summaries = _part("compat.proto.summary_pb2")
        self._tensors = _part("compat.proto.tensor_pb2")
        self._types = _part("compat.proto.types_pb2")
        self._records = _part("summary.writer.record_writer")

    def open(self, run: Subject, identity: str | None, row: int) -> str:
        """A file more in the folder; of a run that begins, in place of all others of loang's."""
        self._folder = run.folder / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        before = sorted(self._folder.glob(PATTERN))
        # Readers take the files by their names, the seconds of which say their order.
        last = max((int(path.name.split(".")[3]) for path in before), default=0)
        number = max(int(time.time()), last + 1)
        path = self._folder / f"events.out.tfevents.{number:010d}.loang"
        self._file = path.open("xb")
        self._out = self._records.RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if identity is None:
            for other in before:
                other.unlink()
            # A TensorBoard that has read them forgets what it read.
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._write(session_log=start, step=0)
            rows = [f"| {key} | {json.dumps(value)} |" for key, value in run.settings.items()]
            self._text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]), 0)
        self._file.flush()
        return FOLDER

    def tell(self, records: Sequence[Record]) -> None:
        """Each number as a scalar, each word as text."""
        summaries = self._summaries
        for record in records:
            self._last = step = step_of(record)
            values = [
                summaries.Summary.Value(tag=key, simple_value=value)
                for key, value in numbers(record).items()
            ]
            self._write(summary=summaries.Summary(value=values), step=step)
            for key, text in words(record).items():
                self._text(key, text, step)
        self._flush()

    def show(self, title: str, path: Path, step: int) -> None:
        """The file as it is: browsers show PNG and GIF."""
        content = path.read_bytes()
        width, height = _size(content)
        image = self._summaries.Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=content
        )
        value = self._summaries.Summary.Value(tag=title, image=image)
        self._write(summary=self._summaries.Summary(value=[value]), step=step)
        self._flush()

    def keep(self, model: Path) -> None:
        """Where the file lies: TensorBoard keeps none."""
        self._text("model", f"`{model.name}`, in the run's folder", self._last)
        self._flush()

    def close(self, end: End) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Close the file; the next one replaces it."""
        self.close("failed")

    def _write(self, **values: Any) -> None:
        event = self._events.Event(wall_time=time.time(), **values)
        self._out.write(event.SerializeToString())

    def _flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def _text(self, tag: str, text: str, step: int) -> None:
        value = self._summaries.Summary.Value(
            tag=tag,
            metadata=_text_metadata(self._summaries),
            tensor=self._tensors.TensorProto(
                dtype=self._types.DT_STRING, string_val=[text.encode("utf-8")]
            ),
        )
        self._write(summary=self._summaries.Summary(value=[value]), step=step)


def _part(name: str) -> ModuleType:
    return require(f"tensorboard.{name}", extra="track", purpose="to write its event files")


def _text_metadata(summaries: ModuleType) -> Any:
    data = summaries.SummaryMetadata.PluginData(plugin_name="text")
    return summaries.SummaryMetadata(plugin_data=data, data_class=summaries.DATA_CLASS_TENSOR)


def _size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG or GIF file, which its first bytes say."""
    if content.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", content[16:24])
    else:
        width, height = struct.unpack("<HH", content[6:10])
    return width, height
