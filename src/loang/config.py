"""The settings of a run: frozen, typed, complete; what config.json holds.

A preset (presets.py) is a whole `Settings`; `changed` applies `section.key=value` to one.
"""

import difflib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from loang.errors import LoangError
from loang.untrusted import shown

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
Beta = Annotated[float, Field(gt=0, lt=1)]

LONGEST = 2**16
"""Characters of all settings as JSON, which have about 2,000."""


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
    range: Literal["auto", "full", "data", "percentiles"] = Field(
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


class UNetSettings(Section):
    """networks/unet.py."""

    kind: Literal["unet"] = "unet"
    width: Annotated[int, Field(ge=4, le=2**13)] = 64
    multipliers: tuple[Annotated[int, Field(ge=1, le=2**7)], ...] = Field(
        (1, 2, 2), min_length=1, max_length=12
    )
    blocks: Annotated[int, Field(ge=1, le=32)] = 2
    attention: tuple[Annotated[int, Field(ge=0)], ...] = Field((2,), max_length=12)
    heads: Whole = 4
    fold: Annotated[int, Field(ge=1, le=2**6)] | None = Field(
        1, description="None: what leaves the first level 16x16 positions or fewer"
    )
    dropout: Share = 0.0
    modulate: bool = True


class TutorialSettings(Section):
    """networks/tutorial.py: the article's network; nothing to choose."""

    kind: Literal["tutorial"] = "tutorial"


class ScheduleSettings(Section):
    """schedule.py."""

    kind: Literal["linear", "scaled-linear", "cosine", "sigmoid"] = "cosine"
    steps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    beta_start: Beta | None = Field(None, description="linear and scaled-linear; None: its own")
    beta_end: Beta | None = Field(None, description="linear and scaled-linear; None: its own")
    zero_terminal_snr: bool = False


class DenoiserSettings(Section):
    """denoiser.py."""

    predicts: Literal["eps", "x0", "v"] = "v"
    clip: bool = True


class OptimizerSettings(Section):
    """AdamW, and the learning rate over the run."""

    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Below1, Below1] = (0.9, 0.99)
    epsilon: Positive = 1e-8
    clip_norm: Positive | None = 1.0
    warm_up: Annotated[int, Field(ge=0, le=10**9)] = Field(100, description="steps")
    decay_from: Share = Field(0.5, description="share of the budget after which it falls to 0")


class EmaSettings(Section):
    """training/ema.py."""

    kind: Literal["power", "constant"] = "power"
    length: Annotated[float, Field(gt=0, lt=0.28)] = Field(
        0.06, description="power: the average's standard deviation, as a share of the run"
    )
    decay: Share = Field(0.9999, description="constant: the factor a step, ramped up at first")


class TrainingSettings(Section):
    """The loop."""

    batch: Whole = 64
    micro_batch: Whole | None = Field(
        None, description="images computed at once, their gradients added up; None: the batch"
    )
    budget: Word = Field("5m", description="5m, 2h30m, 50 epochs, 1000000 images")
    weighting: Literal["simple", "eps", "vlb", "min-snr"] = "simple"
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

    sampler: Literal["ddpm", "ddim"] = "ddim"
    steps: Steps = 50
    eta: Share = 0.0
    variance: Literal["fixed-small", "fixed-large"] = "fixed-small"


class EvaluationSettings(Section):
    """training/monitor.py: distances measured at each report, at no change to what is learnt."""

    samples: int = Field(0, le=10**7, description="how many are drawn, 2 or more; 0 for none")
    steps: Steps = Field(20, description="of DDIM")
    features: Word = Field("auto", description="auto, fashion-v1, own, inception, pixels")

    @field_validator("samples")
    @classmethod
    def _enough(cls, samples: int) -> int:
        if samples < 0 or samples == 1:
            raise ValueError("a distance needs at least 2 samples; 0 measures none")
        return samples


class Settings(Section):
    """Everything that decides a run."""

    preset: Word = "custom"
    data: DataSettings = DataSettings()
    network: Annotated[UNetSettings | TutorialSettings, Field(discriminator="kind")] = (
        UNetSettings()
    )
    schedule: ScheduleSettings = ScheduleSettings()
    denoiser: DenoiserSettings = DenoiserSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    ema: EmaSettings = EmaSettings()
    training: TrainingSettings = TrainingSettings()
    sampling: SamplingSettings = SamplingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.sampling.steps > self.schedule.steps:
            raise ValueError(
                f"sampling.steps is {self.sampling.steps},"
                f" more than schedule.steps, {self.schedule.steps}"
            )
        if isinstance(self.network, UNetSettings):
            network = self.network
            levels = len(network.multipliers)
            if any(level >= levels for level in network.attention):
                raise ValueError(
                    f"network.attention is {network.attention}, but levels count 0..{levels - 1}"
                )
            attending = {*network.attention, levels - 1}
            widths = [network.width * network.multipliers[level] for level in attending]
            if any(width % network.heads for width in widths):
                raise ValueError(
                    f"network.heads is {network.heads}, which does not divide"
                    f" the widths {widths} of the levels that attend"
                )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.model_dump(mode="json")


def load(values: Any) -> Settings:
    """The settings that `to_dict` wrote; or anything else, which is refused.

    Raises:
        LoangError: a key is unknown, or a value is of the wrong type or range.
    """
    try:
        text = json.dumps(values)
        if len(text) > LONGEST:
            raise ValueError(f"{len(text):,} characters, more than {LONGEST:,}")
        # Strict, and through JSON: true is no number, a list is a tuple, 1 is a float.
        return Settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _readable(error) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise LoangError(
            f"The settings can't be used: they are no short text of JSON ({shown(str(error))}).",
            "Correct them; `loang train --dry-run` shows every setting with its value.",
        ) from error


def changed(settings: Settings, assignments: Iterable[str]) -> Settings:
    """The settings with `section.key=value` applied, in order.

    A value is read as JSON where it is JSON, else as a text: 3, 0.5, true, null, [1,2,2], cosine.
    A new `network.kind` starts from that network's own defaults.

    Raises:
        LoangError: not an assignment, an unknown key (the nearest is named), or a wrong value.
    """
    values = settings.to_dict()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise LoangError(
                f"--set {assignment!r} has no value.", "Write it as section.key=value."
            )
        section, _, key = path.strip().partition(".")
        if path.strip() == "network.kind":
            values["network"] = {"kind": text.strip()}
            continue
        paths = _paths(values["network"]["kind"])
        if path.strip() not in paths:
            near = difflib.get_close_matches(path.strip(), paths, 1, 0.5)
            by_key = [p for p in paths if p.partition(".")[2] == (key or section)]
            best = next(iter(by_key + near), None)
            sections = ", ".join(dict.fromkeys(p.partition(".")[0] for p in paths))
            remedy = f"Did you mean {best}?" if best else f"The sections are {sections}."
            raise LoangError(f"There is no setting {path.strip()!r}.", remedy)
        values[section] = {**values[section], key: _value(text)}
    return load(values)


def _paths(network: str) -> list[str]:
    """Every `section.key` that there is, with a network of that kind."""
    networks: dict[str, type[Section]] = {"unet": UNetSettings, "tutorial": TutorialSettings}
    sections: dict[str, type[Section]] = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    sections["network"] = networks.get(network, UNetSettings)
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        text = text.strip()
        # 1,2,2 is how a person writes a list.
        if "," in text:
            return [_value(part) for part in text.strip("[]").split(",")]
        return text


def _readable(error: ValidationError) -> LoangError:
    """The first thing that is wrong, in the person's words."""
    first = error.errors(include_url=False)[0]
    # Pydantic puts the union's tag into the path.
    place = shown(".".join(str(p) for p in first["loc"] if p not in ("unet", "tutorial")))
    if first["type"] == "extra_forbidden":
        return LoangError(
            f"There is no setting {place!r}.", "Remove it, or look at `loang train --dry-run`."
        )
    message = shown(first["msg"].removeprefix("Value error, "), most=200)
    where = f"{place}: " if place else ""
    given = "" if first["type"] == "value_error" else f" (given: {shown(repr(first['input']))})"
    return LoangError(
        f"The settings can't be used: {where}{message}{given}.",
        "Correct it; `loang train --dry-run` shows every setting with its value.",
    )
