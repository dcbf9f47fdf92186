"""The page: drawn from the numbers in doctor.json, whatever is missing there."""

import numpy as np
import pytest
from PIL import Image

from loang.doctor import output
from loang.doctor.finding import Diagnosis, Finding
from loang.pictures.doctor_page import Curve, doctor_page

LOG_SNR = [8.0, 4.0, 0.0, -4.0, -8.0]
ERRORS = [
    Curve("network", "network", [1e-3, 1e-2, 0.1, 0.2, 0.3], [1e-4, 1e-3, 1e-2, 0.1, 1.0]),
    Curve("gaussian", "a Gaussian", [2e-3, 2e-2, 0.2, None, 0.3], [None] * 5),
]
RATIOS = [Curve("network", "network", [0.5, 0.5, 0.5, 40.0, 1.0], [0.1] * 5)]


def pixels(path):
    with Image.open(path) as page:
        return np.asarray(page.convert("RGB")).astype(int)


@pytest.mark.parametrize("ratios", [RATIOS, []])
@pytest.mark.parametrize("decided", [[0.0, -4.0], [0.0], []])
def test_curves_are_drawn_in_their_colours(tmp_path, ratios, decided):
    path = tmp_path / "page.png"
    doctor_page(path, title="Mine", log_snr=LOG_SNR, errors=ERRORS, ratios=ratios, decided=decided)
    drawn = pixels(path)
    blue = (np.abs(drawn - (0x00, 0x72, 0xB2)).sum(2) < 12).sum()
    orange = (np.abs(drawn - (0xD5, 0x5E, 0x00)).sum(2) < 12).sum()
    shade = (np.abs(drawn - (0xF3, 0xF1, 0xE7)).sum(2) < 3).sum()
    assert blue > 500
    assert orange > 100
    assert (shade > 1000) == bool(decided)


def test_a_network_that_answers_no_numbers_has_a_page_too(tmp_path):
    levels = {
        "log_snr": LOG_SNR,
        "errors": {"network": [1e6] * 5, "gaussian": [0.1] * 5},
        "standard_errors": {"network": [0.0] * 5},
        "middle": [1, 2],
        "network_to_gaussian": [{"ratio": 1e7, "error": float("inf")}] * 5,
    }
    diagnosis = Diagnosis("mine", "run", (Finding("wrong", "a", "b"),), facts={"levels": levels})
    assert [path.name for path in output.write(diagnosis, tmp_path)] == [
        "doctor.json",
        "doctor.png",
    ]
    assert pixels(tmp_path / "doctor.png").std() > 0


def test_without_errors_there_is_no_page(tmp_path):
    diagnosis = Diagnosis("mine", "run", (Finding("good", "a", "b"),))
    assert [path.name for path in output.write(diagnosis, tmp_path)] == ["doctor.json"]
    assert not (tmp_path / "doctor.png").exists()
