"""Everything that decides a run, and what does not go together."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from loang.config.networks import DenoisingDiffusionSettings, TutorialSettings, UNetSettings
from loang.config.sections import (
    DataSettings,
    DenoiserSettings,
    DistillationSettings,
    EmaSettings,
    EvaluationSettings,
    OptimizerSettings,
    SamplingSettings,
    ScheduleSettings,
    Section,
    TrainingSettings,
    Word,
)


class Settings(Section):
    """Everything that decides a run."""

    preset: Word = "custom"
    data: DataSettings = DataSettings()
    network: Annotated[
        UNetSettings | TutorialSettings | DenoisingDiffusionSettings, Field(discriminator="kind")
    ] = UNetSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    denoiser: DenoiserSettings = DenoiserSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    ema: EmaSettings = EmaSettings()
    training: TrainingSettings = TrainingSettings()
    sampling: SamplingSettings = SamplingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    distillation: DistillationSettings = DistillationSettings()

    @property
    def distilled(self) -> bool:
        """Whether the model leaps: it knows its own walk, and no mean image at every level."""
        return self.training.objective == "consistency"

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        discrete = self.schedule.kind not in ("edm", "flow")
        if discrete and self.sampling.steps > self.schedule.steps:
            raise ValueError(
                f"sampling.steps is {self.sampling.steps},"
                f" more than schedule.steps, {self.schedule.steps}"
            )
        self._check_objective(discrete)
        if isinstance(self.network, UNetSettings):
            self._check_network(self.network)
        if isinstance(self.network, DenoisingDiffusionSettings):
            _check_denoising_diffusion(self.network)
        return self

    def _check_network(self, network: UNetSettings) -> None:
        """Raises ValueError for widths that can't be divided as asked, and labels never hidden."""
        levels = len(network.multipliers)
        if any(level >= levels for level in network.attention):
            raise ValueError(
                f"network.attention is {network.attention}, but levels count 0..{levels - 1}"
            )
        attending = {*network.attention, *([levels - 1] if network.middle_attention else [])}
        widths = [network.width * network.multipliers[level] for level in sorted(attending)]
        name = "heads" if network.head_width is None else "head_width"
        divisor = getattr(network, name)
        if any(width % divisor for width in widths):
            raise ValueError(
                f"network.{name} is {divisor}, which does not divide"
                f" the widths {widths} of the levels that attend"
            )
        groups = network.norm_groups
        widths = [network.width * multiplier for multiplier in (1, *network.multipliers)]
        if groups is not None and any(width % groups for width in widths):
            raise ValueError(
                f"network.norm_groups is {groups}, which does not divide the widths"
                f" {sorted(set(widths))}"
            )
        if not network.no_label and self.training.label_dropout > 0:
            raise ValueError(
                "network.no_label is false, so no label can be hidden, and training.label_dropout"
                f" is {self.training.label_dropout:g}: set it to 0"
            )

    def _check_objective(self, discrete: bool) -> None:
        """Raises ValueError for parts of an objective that mean nothing together."""
        schedule, predicts = self.schedule, self.denoiser.predicts
        if schedule.sigma_min >= schedule.sigma_max:
            raise ValueError(
                f"schedule.sigma_min is {schedule.sigma_min:g},"
                f" no less than schedule.sigma_max, {schedule.sigma_max:g}"
            )
        if schedule.kind == "edm" and schedule.sigma_max < 10 * self.denoiser.deviation:
            raise ValueError(
                f"schedule.sigma_max is {schedule.sigma_max:g}, where a walk from pure noise can't"
                f" start: take {10 * self.denoiser.deviation:g} or more, ten times"
                " denoiser.deviation"
            )
        for name in ("told_in_thousands", "counted_from"):
            default = ScheduleSettings.model_fields[name].default
            if not discrete and getattr(schedule, name) != default:
                raise ValueError(
                    f"schedule.{name} is of schedules in steps, and schedule.kind is"
                    f" {schedule.kind}"
                )
        if not discrete and schedule.zero_terminal_snr:
            raise ValueError(
                f"schedule.zero_terminal_snr is of schedules in steps, and schedule.kind is"
                f" {schedule.kind}"
            )
        if predicts == "eps" and (schedule.kind == "flow" or schedule.zero_terminal_snr):
            raise ValueError(
                "denoiser.predicts is eps, which says nothing of the image where the schedule"
                " ends in pure noise: predict v, x0, flow or edm, or take another schedule, such as"
                " schedule.kind=cosine"
            )
        if self.denoiser.learn_variance and not discrete:
            raise ValueError(
                f"denoiser.learn_variance is of the steps that a schedule has, and schedule.kind"
                f" is {schedule.kind}: take schedule.kind=cosine, or another in steps"
            )
        self._check_training(discrete)

    def _check_training(self, discrete: bool) -> None:
        """Raises ValueError for weights and levels that mean nothing, or nothing together."""
        kind, training = self.schedule.kind, self.training
        weighting, levels = training.weighting, training.levels
        if weighting == "vlb" and not discrete:
            raise ValueError(
                f"training.weighting is vlb, whose weight has no end towards the image where"
                f" schedule.kind is {kind}: take eps, or a schedule in steps, as cosine"
            )
        if weighting == "vlb" and levels in ("log-normal", "logit-normal"):
            raise ValueError(
                f"training.weighting is vlb, which is the bound if every step counts the same,"
                f" and training.levels is {levels}: take uniform or importance"
            )
        if weighting == "truncated-snr" and self.denoiser.predicts == "eps":
            raise ValueError(
                "training.weighting is truncated-snr, which counts an image's error in pure noise"
                " in full, and denoiser.predicts is eps, which says nothing of it: predict v or x0"
            )
        if weighting == "learned" and levels == "importance":
            raise ValueError(
                "training.weighting is learned, which makes the losses of all levels the same,"
                " and training.levels is importance, which draws by their difference: take one"
            )
        if levels == "logit-normal" and kind == "edm":
            raise ValueError(
                "training.levels is logit-normal, which is of a time that ends in pure noise, and"
                " schedule.kind is edm: take log-normal"
            )
        given = [
            name
            for name in ("level_mean", "level_deviation")
            if getattr(training, name) is not None
        ]
        if given and levels in ("uniform", "importance"):
            raise ValueError(
                f"training.{given[0]} is of log-normal and logit-normal levels, and"
                f" training.levels is {levels}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.model_dump(mode="json")


def _check_denoising_diffusion(network: DenoisingDiffusionSettings) -> None:
    """Raises ValueError for levels that are not there, and widths that can't be divided."""
    levels, full = len(network.multipliers), network.full_attention or ()
    if any(level >= levels for level in full):
        raise ValueError(f"network.full_attention is {full}, but levels count 0..{levels - 1}")
    widths = [network.width * multiplier for multiplier in network.multipliers]
    widths.append(network.first_width or network.width)
    groups = network.norm_groups
    if groups is not None and any(width % groups for width in widths):
        raise ValueError(
            f"network.norm_groups is {groups}, which does not divide the widths"
            f" {sorted(set(widths))}"
        )
