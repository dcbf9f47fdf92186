"""`loang doctor RUN`: a run or a model, examined from its log to its samples."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loang import device as devices
from loang.config import EmaSettings, SamplingSettings
from loang.data.download import Progress
from loang.data.images import Dataset
from loang.data.scaling import to_model
from loang.doctor import (
    average,
    effort,
    gaussian,
    learning,
    levels,
    record,
    statistics,
    terminal,
    units,
    why,
)
from loang.doctor.effort import Effort
from loang.doctor.finding import Diagnosis, Finding, Part, sorted_by_weight
from loang.doctor.levels import Levels
from loang.doctor.patient import Patient, chosen, open_patient
from loang.errors import LoangError
from loang.model import Model

REAL = 1000  # images that samples are compared with,
VALUES = 2**24  # and values of these, at the most
SHOWN = 32  # images that the network's parts are looked at with
FEW_STEPS = {
    "ddpm": 100,
    "ddim": 10,
    "euler": 10,
    "euler-ancestral": 20,
    "dpmpp-2m-sde": 5,
    "heun": 5,
    "dpmpp-2m": 5,
    "dpmpp-3m": 5,
    "unipc": 5,
    "deis": 5,
    "ipndm": 5,
}
"""Below which samples are no measure of what was learnt; others choose their steps themselves."""
LEAPS = Finding(
    "note",
    "levels",
    "The model is distilled: it leaps, and its error by noise level is no measure of it.",
    "See the validation loss, and `loang evaluate`; the model that it was distilled from can be"
    " examined.",
)
OnStage = Callable[[str, int, int], None]


def examine(
    path: Path,
    data: str | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    device: str = "auto",
    on_stage: OnStage | None = None,
    on_progress: Progress | None = None,
) -> Diagnosis:
    """Examine a run's folder or a model file.

    Args:
        path: of the folder or file.
        data: where its images are now; None where the run found them.
        count: images of each split that errors are measured on; None takes 256, or as many as
            about a minute allows.
        seed: of the images, the noise and the samples.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        on_stage: told (what, done, in all).
        on_progress: told of a download.

    Raises:
        LoangError: there is neither a run nor a model that can be read.
    """
    patient = open_patient(path, data, device=device, on_progress=on_progress)
    return examine_patient(patient, count=count, seed=seed, on_stage=on_stage)


def examine_patient(
    patient: Patient,
    *,
    count: int | None = None,
    seed: int = 0,
    on_stage: OnStage | None = None,
) -> Diagnosis:
    """Examine what is opened already; for the arguments see `examine`."""
    told = on_stage or (lambda what, done, total: None)
    parts = {"files": Part(patient.findings, _about(patient))}
    measured: Levels | None = None
    if patient.model is not None:
        passes = levels.LEVELS * (3 if patient.raw is not None else 2)
        told("trying how fast the network is", 0, 1)
        trial = effort.try_out(patient.model)
        how = effort.choose(patient.model, trial, passes, count)
        if patient.settings.distilled:
            parts["levels"] = Part((LEAPS,))
        elif patient.dataset is not None:
            measured = _measure(patient, patient.model, patient.dataset, how, seed, told)
            parts["levels"] = learning.examine(measured, patient.settings.denoiser.predicts)
        parts["units"] = _units(patient, patient.model, how, seed)
        parts["samples"] = _samples(patient.model, patient.dataset, how, seed, told)
    parts["average"] = average.examine(_average(patient), patient.steps, measured)
    parts["terminal"] = _terminal(patient, seed)
    train = 0 if patient.dataset is None else len(patient.dataset.train)
    parts["log"] = record.examine(
        patient.records, patient.settings, patient.images_seen, train, patient.finished
    )
    findings = [finding for part in parts.values() for finding in part.findings]
    return Diagnosis(
        patient.name,
        "run" if patient.kind == "run" else "model",
        sorted_by_weight(findings),
        why.answers(findings),
        {name: part.facts for name, part in parts.items() if part.facts},
        tuple(table for part in parts.values() for table in part.tables),
    )


def _average(patient: Patient) -> EmaSettings:
    facts = {} if patient.model is None else patient.model.facts
    return average.of_model(patient.settings.ema, facts)


def _measure(
    patient: Patient, model: Model, dataset: Dataset, how: Effort, seed: int, told: OnStage
) -> Levels:
    """The errors by level of averaged and raw weights, and of simpler guesses."""
    denoiser, schedule = model.denoiser, model.denoiser.schedule
    times = levels.choose_times(schedule)
    dtype = devices.autocast_type(model.device, patient.settings.training.precision)
    held_out = chosen(dataset, "validation", how.images, seed)
    train = chosen(dataset, "train", how.images, seed)
    parts = 1 + (patient.raw is not None) + dataset.apart
    total, done = parts * len(times) * how.images, 0

    def on_batch(images: int) -> None:
        nonlocal done
        done += images
        told("measuring the error by noise level", done, total)

    def network(split: str) -> np.ndarray:
        images, rows = (
            (dataset.train, train) if split == "training" else (dataset.validation, held_out)
        )
        return levels.network_errors(
            denoiser,
            images,
            rows,
            times,
            dtype=dtype,
            seed=seed,
            purpose=split,
            batch=how.batch,
            on_batch=on_batch,
        )

    errors = {"network": network("held out")}
    if dataset.apart:
        errors["training"] = network("training")
    if patient.raw is not None:
        own = {name: tensor.clone() for name, tensor in denoiser.network.state_dict().items()}
        try:
            denoiser.network.load_state_dict(dict(patient.raw))
            errors["raw"] = network("held out")
        finally:
            denoiser.network.load_state_dict(own)
    told("fitting a Gaussian", 0, 1)
    fitted = gaussian.fit(dataset.train, seed)
    variance = 1.0
    if fitted is not None:
        errors |= levels.simple_errors(
            fitted, denoiser, dataset.validation, held_out, times, seed=seed
        )
        x0 = to_model(dataset.validation[held_out], dataset.spec).double().flatten(1)
        variance = float((x0 - fitted.mean).square().mean())
    log_snr = schedule.log_snr(torch.tensor(times)).tolist()
    return Levels(times, log_snr, errors, variance)


def _units(patient: Patient, model: Model, how: Effort, seed: int) -> Part:
    """The network's parts, looked at with noisy images, or with noise where there are none."""
    schedule, at = model.denoiser.schedule, model.device
    times = levels.choose_times(schedule, 4)
    label: Tensor | None = None
    if patient.dataset is not None:
        rows = chosen(patient.dataset, "train", min(SHOWN, how.batch), seed)
        images = patient.dataset.train
        x0 = to_model(images[rows], images.spec).to(at)
        if model.knows_labels and images.labels is not None:
            label = torch.from_numpy(images.labels[rows]).to(at, torch.long)
    else:
        x0 = torch.zeros(min(SHOWN, how.batch), *model.spec.shape, device=at)
    x = [levels.noisy(schedule, x0, t, seed=seed, purpose="units") for t in times]
    return units.examine(units.look(model.denoiser, x, times, label), patient.steps > 0)


def _samples(model: Model, dataset: Dataset | None, how: Effort, seed: int, told: OnStage) -> Part:
    """A few samples, beside as many real images as there are; and whether the steps suffice."""
    sampling = how.sampling
    way = _way(sampling)
    findings: list[Finding] = []
    if not model.settings.distilled:  # a student's few steps are its own
        findings += _steps(model.settings.sampling, model.denoiser.schedule.most_steps)
    labels: Tensor | None = None
    if dataset is not None and model.knows_labels and dataset.train.labels is not None:
        # Classes as often as the data have them, else their shares would pass for a tint.
        rows = chosen(dataset, "train", how.samples, seed)
        labels = torch.from_numpy(dataset.train.labels[rows]).long()
    count = how.samples if labels is None else len(labels)
    try:
        pixels = model.sample(
            count,
            seed=seed,
            sampling=sampling,
            labels=labels,
            batch=how.batch,
            on_step=lambda done, total: told("drawing samples", done, total),
        )
    except LoangError as error:
        return Part((*findings, Finding("wrong", "samples", error.problem, error.remedy)))
    if dataset is None or len(dataset.train) < 2 or count < 2:
        return Part(tuple(findings), {"count": count, "way": way})
    most = max(2, min(REAL, VALUES // math.prod(model.spec.shape)))
    real = chosen(dataset, "train", most, seed)
    pairs = statistics.measure(
        to_model(pixels, model.spec), to_model(dataset.train[real], dataset.spec)
    )
    part = statistics.examine(pairs, count, way)
    return Part((*findings, *part.findings), part.facts, part.tables)


def _way(sampling: SamplingSettings) -> str:
    return f"{sampling.sampler.upper()}, {sampling.steps:,} steps"


def _steps(sampling: SamplingSettings, most: int) -> tuple[Finding, ...]:
    least = FEW_STEPS.get(sampling.sampler, 1)
    if sampling.steps >= min(least, most):
        return ()
    return (
        Finding(
            "note",
            "sampling",
            f"It samples with {_way(sampling)}, which is few: {sampling.sampler.upper()} needs"
            f" {least} or more.",
            f"Draw from it with --steps {min(5 * least, most)}.",
        ),
    )


def _terminal(patient: Patient, seed: int) -> Part:
    size = patient.settings.data.size
    if patient.model is not None:
        size = patient.model.spec.height, patient.model.spec.width
    images = None if patient.dataset is None else patient.dataset.train
    height, width = size or (32, 32)
    return terminal.examine(patient.settings, images, height * width, seed)


def _about(patient: Patient) -> dict[str, Any]:
    data = patient.dataset
    return {
        "preset": patient.settings.preset,
        "steps": patient.steps,
        "images_seen": patient.images_seen,
        "data": None if data is None else data.name,
        "fingerprint": patient.learned,
        "raw_weights": patient.raw is not None,
    }
