# mypy: ignore-errors
"""A pipeline of diffusers that draws images of the classes that are asked for; it needs no loang.

from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(
    FOLDER, custom_pipeline=FOLDER + "/pipeline.py", trust_remote_code=True
)
images = pipeline(class_labels=[0, 1, 2]).images
"""

import inspect

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor


class LabelledPipeline(DiffusionPipeline):
    """The network and the scheduler of a DDPMPipeline, and labels.

    Args:
        unet: a UNet2DModel that knows classes.
        scheduler: a DDPMScheduler, or any other of diffusers' that is made from its config.
    """

    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        class_labels,
        num_inference_steps=None,
        generator=None,
        output_type="pil",
        return_dict=True,
    ):
        """One image a label.

        Args:
            class_labels: numbers of classes.
            num_inference_steps: None takes all of the schedule.
            generator: of the noise; where the scheduler takes none, of the first noise alone.
            output_type: "pil", or "np" for an array (n, height, width, channels) in 0..1.
            return_dict: whether the images come as `.images`, or in a tuple.
        """
        labels = torch.as_tensor(class_labels, device=self.unet.device)
        size = self.unet.config.sample_size
        sides = (size, size) if isinstance(size, int) else tuple(size)
        shape = (len(labels), self.unet.config.in_channels, *sides)
        self.scheduler.set_timesteps(
            num_inference_steps or self.scheduler.config.num_train_timesteps
        )
        x = randn_tensor(shape, generator, self.unet.device, self.unet.dtype)
        x = x * self.scheduler.init_noise_sigma
        takes = inspect.signature(self.scheduler.step).parameters
        options = {"generator": generator} if "generator" in takes else {}
        for t in self.progress_bar(self.scheduler.timesteps):
            scaled = self.scheduler.scale_model_input(x, t)
            answer = self.unet(scaled, t, class_labels=labels).sample
            x = self.scheduler.step(answer, t, x, **options).prev_sample
        images = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
