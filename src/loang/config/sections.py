"""The sections of a run's settings: frozen, typed, each with its defaults."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Upper bounds are far beyond what anybody trains: settings may come from a stranger's file.
Share = Annotated[float, Field(ge=0, le=1)]
Below1 = Annotated[float, Field(ge=0, lt=1)]
Whole = Annotated[int, Field(ge=1, le=2**20)]
Side = Annotated[int, Field(ge=1, le=2**15)]
Channels = Annotated[int, Field(ge=1, le=2**10)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Positive = Annotated[float, Field(gt=0)]
Word = Annotated[str, Field(max_length=100)]
Place = Annotated[str, Field(max_length=4096)]
Time = Annotated[float, Field(ge=0, le=100_000)]
NoiseLevel = Annotated[float, Field(ge=0)]
SamplerName = Literal[
    "auto",
    "ddpm",
    "ddim",
    "euler",
    "euler-ancestral",
    "heun",
    "dpmpp-2m",
    "dpmpp-3m",
    "dpmpp-2m-sde",
    "unipc",
    "deis",
    "ipndm",
    "ode",
    "consistency",
]
Beta = Annotated[float, Field(gt=0, lt=1)]
SHORTEST, LONGEST = 1e-4, 0.28
"""Of averages: a shorter one's exponent can't be computed with, a longer one does not exist."""
Length = Annotated[float, Field(ge=SHORTEST, lt=LONGEST)]


class Section(BaseModel):
    """Frozen, and with no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Section):
    """Which images, and how they are changed before training."""

    source: Place | None = None
    size: tuple[Side, Side] | None = Field(None, description="height, width; None keeps it")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how another shape is brought to `size`"
    )
    channels: Channels | None = Field(None, description="None keeps them")
    background: Literal["white", "black"] = Field(
        "white", description="what transparent images are laid on, and padded with"
    )
    range: Literal["auto", "full", "data", "percentiles", "unit"] = Field(
        "auto", description="which stored values become -1 and 1"
    )
    labels: bool = Field(True, description="learn the labels, where the source has them")
    labels_file: Place | None = Field(
        None, description="CSV or JSONL; None: the folder's own, or its subfolders"
    )
    label_column: Word | None = Field(None, description="None: label, class, ...")
    image_column: Word | None = Field(None, description="None: image, file_name, ...")
    unreadable: Share = Field(0.05, description="the share of images that may be bad")
    follow_links: bool = Field(False, description="also links that leave a folder of images")
    flips: bool = Field(False, description="mirror half of the images, left to right")
    rotations: bool = Field(False, description="turn images by 0, 90, 180 or 270 degrees")
    shifts: Annotated[int, Field(ge=0, le=2**10)] = Field(
        0, description="move images by up to so many pixels; edges are repeated"
    )
    told: bool = Field(
        False, description="tell the network how an image was changed: samples come unchanged"
    )

    def wishes(self) -> dict[str, Any]:
        """What is asked of the images: all but their place, and what training does to them."""
        return self.model_dump(exclude={"source", "flips", "rotations", "shifts", "told"})


class ScheduleSettings(Section):
    """schedule.py."""

    kind: Literal["linear", "scaled-linear", "cosine", "sigmoid", "edm", "flow"] = "cosine"
    steps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    beta_start: Beta | None = Field(None, description="linear and scaled-linear; None: its own")
    beta_end: Beta | None = Field(None, description="linear and scaled-linear; None: its own")
    zero_terminal_snr: bool = False
    counted_from: Literal[0, 1] = Field(
        1, description="in steps: what the network is told of the first"
    )
    told_in_thousands: bool = Field(
        False, description="in steps: the network is told of them as if there were 1000"
    )
    sigma_min: Positive = Field(0.002, description="edm: the least noise")
    sigma_max: Positive = Field(80.0, description="edm: the most noise")


class DenoiserSettings(Section):
    """denoiser.py."""

    predicts: Literal["eps", "x0", "v", "flow", "edm"] = "v"
    deviation: Positive = Field(0.5, description="edm: standard deviation of the images' values")
    learn_variance: bool = Field(
        False, description="of each step of ddpm, by the hybrid loss (Nichol and Dhariwal 2021)"
    )
    clip: bool = True


class OptimizerSettings(Section):
    """AdamW or Muon, and the learning rate over the run."""

    kind: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: kernels by it, all else as AdamW"
    )
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Below1, Below1] = (0.9, 0.99)
    epsilon: Positive = 1e-8
    momentum: Below1 = Field(0.95, description="of muon's kernels, in the place of betas")
    clip_norm: Positive | None = 1.0
    warm_up: Annotated[int, Field(ge=0, le=10**9)] = Field(100, description="steps")
    decay_from: Share = Field(0.5, description="share of the budget after which it falls to 0")


class EmaSettings(Section):
    """training/ema.py."""

    kind: Literal["power", "constant"] = "power"
    length: Length = Field(
        0.06, description="power: the average's standard deviation, as a share of the run"
    )
    decay: Share = Field(0.9999, description="constant: the factor a step, ramped up at first")
    snapshots: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, description="how many over the run, for averages of any length after it; 0 keeps none"
    )
    snapshot_lengths: tuple[Length, ...] = Field(
        (0.05, 0.1), min_length=1, max_length=4, description="of the averages that they hold"
    )
    snapshot_precision: Literal["float32", "float16"] = Field(
        "float32", description="that they are stored in"
    )
    choose: bool = Field(
        False, description="score several lengths when training is over, and keep the best"
    )

    @model_validator(mode="after")
    def _has_snapshots(self) -> "EmaSettings":
        if self.choose and not self.snapshots:
            raise ValueError(
                "ema.choose makes averages of snapshots, and ema.snapshots is 0: ask for 32"
            )
        if len(set(self.snapshot_lengths)) < len(self.snapshot_lengths):
            raise ValueError(f"ema.snapshot_lengths has one twice: {self.snapshot_lengths}")
        return self


class TrainingSettings(Section):
    """The loop."""

    batch: Whole = 64
    micro_batch: Whole | None = Field(
        None, description="images computed at once, their gradients added up; None: the batch"
    )
    recompute: bool = Field(
        False,
        description="compute layers again for their gradients rather than keep them: less memory",
    )
    shard: bool = Field(
        False, description="of several processes, each keeps a part of the weights, not all of them"
    )
    budget: Word = Field("5m", description="5m, 2h30m, 50 epochs, 1000000 images")
    objective: Literal["denoising", "consistency"] = Field(
        "denoising", description="consistency: bring a trained model to few steps"
    )
    weighting: Literal[
        "simple", "eps", "vlb", "min-snr", "truncated-snr", "p2", "edm", "learned"
    ] = Field("simple", description="how much the error at each noise level counts")
    min_snr_gamma: Positive = Field(5.0, description="min-snr: beyond it SNR counts no more")
    levels: Literal["uniform", "log-normal", "logit-normal", "importance"] = Field(
        "uniform", description="how the noise levels of training are drawn"
    )
    level_mean: float | None = Field(
        None, description="of log(sigma), log-normal: None is -1.2; of logit(t), logit-normal: 0"
    )
    level_deviation: Positive | None = Field(
        None, description="log-normal: None is 1.2; logit-normal: 1"
    )
    stratified: bool = Field(
        False, description="spread the levels of a batch evenly, so that its loss varies less"
    )
    pairing: Literal["independent", "immiscible"] = Field(
        "independent",
        description="of images with noises; immiscible: those of a batch are handed round until"
        " they lie nearest",
    )
    label_dropout: Share = Field(0.1, description="share of labels hidden, so it learns both")
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] = 0
    device: Word = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    reports: Whole = Field(10, description="how many in a budget of time or images")
    validation_share: Share = Field(
        1.0, description="of the time so far that validation may take; the last always runs"
    )
    checkpoint_minutes: Positive = 10.0
    keep: Whole = Field(2, description="newest checkpoints kept, beside the best")


class SamplingSettings(Section):
    """How this model is best sampled; `loang sample` starts from it."""

    sampler: SamplerName = "ddim"
    steps: Steps = 50
    spacing: Literal["trailing", "quadratic", "log-snr", "karras"] | None = Field(
        None, description="of the noise levels; None: the schedule's own"
    )
    levels: tuple[Time, ...] | None = Field(
        None, max_length=10_000, description="falling times, in place of steps and spacing"
    )
    eta: Share = Field(0.0, description="ddim: 0 deterministic, 1 as noisy as ddpm")
    variance: Literal["fixed-small", "fixed-large", "learned"] = Field(
        "fixed-small", description="ddpm"
    )
    churn: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, description="heun: noise put in over the walk (Karras et al. 2022, S_churn)"
    )
    tolerance: Annotated[float, Field(ge=1e-8, le=1)] = Field(
        1e-3, description="ode: the error allowed a step"
    )
    guidance: Annotated[float, Field(ge=0, le=100)] = Field(
        1.0, description="1: none; more: the label counts for more"
    )
    guidance_interval: tuple[NoiseLevel, NoiseLevel] | None = Field(
        None, description="from the least to the most noise / signal at which it guides; None: all"
    )
    guidance_rescale: Share = Field(
        0.0, description="how far contrast is put back to what it was (Lin et al. 2023)"
    )


def _measurable(samples: int) -> int:
    """Whether a distance can be measured of so many."""
    if samples < 0 or samples == 1:
        raise ValueError("a distance needs at least 2 samples; 0 measures none")
    return samples


class DistillationSettings(Section):
    """training/consistency.py: of a model that learns to leap where its teacher walks.

    What is None is settled by `loang distill` before anything is learnt (training/distill.py).
    """

    method: Literal["leaps", "consistency", "tuning"] = Field(
        "leaps",
        description="leaps: from each level to the next, a DDIM walk; consistency, tuning: from"
        " any level to the image, by the teacher's short steps or without it",
    )
    steps: Annotated[int, Field(ge=1, le=64)] = Field(2, description="of the student's walk")
    chain: tuple[Whole, Whole] | None = Field(
        None,
        description="short steps in a leap, at first and at last",
    )
    starts: Literal["images", "own"] | None = Field(
        None,
        description="leaps: from images with noise, or from where the student's own leaps lead",
    )
    guidance: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="of the teacher's walk, as in sampling; 1: none"
    )
    guidance_interval: tuple[NoiseLevel, NoiseLevel] | None = Field(
        None, description="from the least to the most noise / signal at which it guides; None: all"
    )
    matched_from: Share | None = Field(
        None, description="leaps: share of the budget after which samples are matched; 1: never"
    )
    match_guidance: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="of the teacher who finds them likely or not; 1: none"
    )
    match_levels: tuple[Positive, Positive] = Field(
        (0.2, 5.0), description="the least and the most noise / signal at which it is asked"
    )

    label_samples: int | None = Field(
        None,
        le=10**7,
        description="how many are measured at each of a few strengths of the labels when training"
        " is over, to keep the best; 0: as they were learnt",
    )

    @field_validator("label_samples")
    @classmethod
    def _enough(cls, samples: int | None) -> int | None:
        return None if samples is None else _measurable(samples)

    @property
    def matched(self) -> bool:
        """Whether the training ends with samples matched by their distribution."""
        return self.method == "leaps" and self.matched_from is not None and self.matched_from < 1


class EvaluationSettings(Section):
    """training/monitor.py: distances measured at each report, at no change to what is learnt."""

    samples: int = Field(0, le=10**7, description="how many are drawn, 2 or more; 0 for none")
    steps: Steps = Field(20, description="of DDIM; a model's own walk if it has no more")
    features: Word = Field("auto", description="auto, fashion-v1, own, inception, pixels")
    guidance_samples: int = Field(
        0,
        le=10**7,
        description="how many are measured at each of a few guidance scales when training is over,"
        " to keep the best; 0: as it is set",
    )

    @field_validator("samples", "guidance_samples")
    @classmethod
    def _enough(cls, samples: int) -> int:
        return _measurable(samples)
