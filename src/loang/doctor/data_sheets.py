"""What the examination of a data set leaves on the disk: doctor.json and two contact sheets."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from loang import files
from loang.doctor import output
from loang.doctor.data import DataDiagnosis
from loang.doctor.data_images import Numbered, evenly
from loang.pictures.contact_sheet import Section, contact_sheet
from loang.pictures.grid import to_display

CONTACT, SUSPICIOUS = "contact-sheet.png", "suspicious.png"
COLUMNS = 8
ROWS = 8
CLASSES = 20
MARKED = 24  # images of one kind


def default_folder(name: str) -> Path:
    """`doctor-NAME`, in the present folder."""
    last = Path(name.rpartition(":")[2]).expanduser()
    return Path(f"doctor-{last.resolve().stem or 'data'}")


def write(diagnosis: DataDiagnosis, folder: Path) -> list[Path]:
    """Write all; returns what was written.

    Raises:
        LoangError: the folder can't be written, or the disk is full.
    """
    written = output.write(diagnosis, folder)
    for name, sections in (
        (CONTACT, list(_overview(diagnosis.images))),
        (SUSPICIOUS, list(_suspicious(diagnosis))),
    ):
        path = folder / name
        if sections:
            with files.replacing(path) as beside:
                contact_sheet(sections, columns=COLUMNS).save(beside, "PNG")
            written.append(path)
        else:  # what was suspicious the last time is mended
            with files.writing(path):
                path.unlink(missing_ok=True)
    return written


def _overview(images: Numbered) -> Iterator[Section]:
    """Some of each class, or evenly spaced ones, as the network will see them."""
    labels, names = images.labels, images.spec.class_names
    shape = f"as the network will see them, {images.spec.height}x{images.spec.width}"
    if labels is None or not names:
        chosen = evenly(len(images), ROWS * COLUMNS)
        yield Section(f"{len(chosen):,} of {len(images):,} images, {shape}", _drawn(images, chosen))
        return
    shown = evenly(len(names), CLASSES)
    for i in shown:
        those = np.flatnonzero(labels == i)
        if len(those):
            some = those[evenly(len(those), COLUMNS)]
            yield Section(f"{names[i]} ({len(those):,})", _drawn(images, some))


def _suspicious(diagnosis: DataDiagnosis) -> Iterator[Section]:
    images = diagnosis.images
    for marked in diagnosis.marked:
        together = max(len(group) for group in marked.groups)
        groups = marked.groups[: MARKED // together]
        numbers = [number for group in groups for number in group]
        more = len(marked.groups) - len(groups)
        title = marked.title + (
            f" (the first {len(groups)} of {len(marked.groups):,})" if more else ""
        )
        captions = [images.place(number) for number in numbers]
        yield Section(title, _drawn(images, np.array(numbers, np.int64)), captions, together)


def _drawn(images: Numbered, numbers: np.ndarray) -> list[np.ndarray]:
    """One at a time: a hundred images of any size need not fit in memory together."""
    spec = images.spec
    thin = max(1, max(spec.height, spec.width) // 512)
    return [
        to_display(images[numbers[i : i + 1]][:, ::thin, ::thin], spec.low, spec.high)[0]
        for i in range(len(numbers))
    ]
