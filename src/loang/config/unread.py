"""Settings that decide nothing beside others: a person who sets one should hear of it."""

from collections.abc import Iterator

from loang.config.settings import Settings

SAMPLERS = {"eta": "ddim", "variance": "ddpm", "churn": "heun", "tolerance": "ode"}
"""The sampler that each of these is of."""


def unread(settings: Settings, plain: Settings) -> list[str]:
    """What is set otherwise than it was, and decides nothing; a sentence each.

    Args:
        settings: of a run that learns images, and no walk of a teacher.
        plain: from which a person set out: those of the preset.
    """
    said = []
    for path, is_read, what in _rules(settings):
        section, _, key = path.partition(".")
        of = getattr(settings, section)
        value, default = getattr(of, key), type(of).model_fields[key].default
        if not is_read and value not in (default, getattr(getattr(plain, section), key)):
            said.append(f"{path}={value} decides nothing here: it is of {what}.")
    return said


def _rules(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """A setting, whether it is read beside the others, and what it is of."""
    schedule, sampling, training = settings.schedule, settings.sampling, settings.training
    kind, edm = schedule.kind, "edm"
    for key in ("beta_start", "beta_end"):
        yield f"schedule.{key}", kind in ("linear", "scaled-linear"), "linear and scaled-linear"
    for key in ("sigma_min", "sigma_max"):
        yield f"schedule.{key}", kind == edm, "schedule.kind=edm"
    yield "schedule.steps", kind not in (edm, "flow"), "schedules in steps"
    preconditioned = edm in (kind, settings.denoiser.predicts, training.weighting)
    yield "denoiser.deviation", preconditioned, "schedules, predictions and weightings called edm"
    yield "training.min_snr_gamma", training.weighting == "min-snr", "training.weighting=min-snr"
    yield "optimizer.momentum", settings.optimizer.kind == "muon", "optimizer.kind=muon"
    average = settings.ema
    yield "ema.length", average.kind == "power", "ema.kind=power"
    yield "ema.decay", average.kind == "constant", "ema.kind=constant"
    for key in ("snapshot_lengths", "snapshot_precision"):
        yield f"ema.{key}", average.snapshots > 0, "runs with ema.snapshots"
    for key, sampler in SAMPLERS.items():
        yield f"sampling.{key}", sampling.sampler in (sampler, "auto"), f"the sampler {sampler}"
    for key in ("steps", "spacing"):
        yield f"sampling.{key}", sampling.levels is None, "walks without sampling.levels"
    for key in ("guidance_interval", "guidance_rescale"):
        yield f"sampling.{key}", sampling.guidance != 1, "walks with sampling.guidance"
    data = settings.data
    changed = data.flips or data.rotations or data.shifts > 0
    yield "data.told", changed, "images changed by data.flips, data.rotations or data.shifts"
    for key in ("labels_file", "label_column"):
        yield f"data.{key}", data.labels, "runs with data.labels"
    for key in type(settings.distillation).model_fields:
        yield f"distillation.{key}", settings.distilled, "loang distill"
