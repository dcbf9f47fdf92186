"""The objective that most tests are about, of a schedule in steps; preset `quick` has a flow's."""

IN_STEPS = (
    "schedule.kind=cosine",
    "denoiser.predicts=v",
    "training.levels=uniform",
    "training.stratified=false",
    "sampling.sampler=ddim",
    "sampling.guidance=1",
    "sampling.guidance_interval=null",
)
