"""What an examination leaves on the disk: doctor.json, and doctor.png where there is a chart."""

import json
from pathlib import Path

from loang import files
from loang.doctor.finding import Diagnosis
from loang.pictures.doctor_page import Curve, doctor_page

REPORT, PAGE = "doctor.json", "doctor.png"
NAMES = {
    "gaussian": "a Gaussian fitted to the images",
    "plain": "mean image and contrast alone",
    "network": "network",
    "raw": "network, last step's weights",
    "training": "network, on training images",
}


def as_json(diagnosis: Diagnosis) -> str:
    """Readable, and JSON to every reader."""
    return json.dumps(diagnosis.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write both files; returns those that were written.

    Raises:
        LoangError: the disk is full, or the folder can't be written.
    """
    report, page = folder / REPORT, folder / PAGE
    files.write_text(report, as_json(diagnosis))
    found = diagnosis.to_dict()["facts"].get("levels")
    if not found:
        return [report]
    errors, spread = found["errors"], found.get("standard_errors", {})
    curves = [
        Curve(name, label, errors[name], spread.get(name, [None] * len(errors[name])))
        for name, label in NAMES.items()
        if name in errors
    ]
    ratios = [
        Curve(
            name,
            NAMES[name],
            [each["ratio"] for each in found[f"{name}_to_gaussian"]],
            [each["error"] for each in found[f"{name}_to_gaussian"]],
        )
        for name in ("network", "raw")
        if f"{name}_to_gaussian" in found
    ]
    doctor_page(
        page,
        title=f"What {diagnosis.subject} knows at each noise level",
        log_snr=found["log_snr"],
        errors=curves,
        ratios=ratios,
        decided=[found["log_snr"][i] for i in found["middle"]],
    )
    return [report, page]
