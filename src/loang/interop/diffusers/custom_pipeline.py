# mypy: ignore-errors
"""A pipeline of diffusers whose images loang draws; it needs both libraries.

    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(
        FOLDER, custom_pipeline=FOLDER + "/pipeline.py", trust_remote_code=True
    )
    images = pipeline(batch_size=4, seed=0).images

The code to be trusted is this file. The model is the one file of loang's beside it: safetensors, of
which nothing runs.
"""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput

import loang


class LoangPipeline(DiffusionPipeline):
    """A model of loang's, of any network and schedule.

    Args:
        model_file: its name in the pipeline's folder.
    """

    def __init__(self, model_file="model.safetensors"):
        super().__init__()
        self.register_to_config(model_file=model_file)
        self._model = None

    @property
    def model(self):
        """loang's `Model`, loaded when it is first asked for."""
        if self._model is None:
            place = Path(self.config["_name_or_path"])
            if not place.is_dir():
                from huggingface_hub import hf_hub_download

                file = hf_hub_download(str(place.as_posix()), self.config["model_file"])
            else:
                file = place / self.config["model_file"]
            self._model = loang.load(file, device="cpu")
        return self._model

    def to(self, *args, device=None, **kwargs):
        """Move the model to a device, if one is among them; its type stays."""
        for each in (*args, device):
            if each is not None and not isinstance(each, torch.dtype):
                self.model.to(str(each))
        return self

    @torch.no_grad()
    def __call__(
        self,
        batch_size=1,
        num_inference_steps=None,
        seed=0,
        class_labels=None,
        output_type="pil",
        return_dict=True,
    ):
        """Images, as `loang sample` draws them.

        Args:
            batch_size: how many.
            num_inference_steps: None takes the model's own walk.
            seed: the same one gives the same images, which no number drawn elsewhere changes.
            class_labels: one an image, 0, 1, ...; None takes the classes in turn.
            output_type: "pil", or "np" for an array (n, height, width, channels) with the values
                that the training images had.
            return_dict: whether the images come as `.images`, or in a tuple.
        """
        sampling = self.model.settings.sampling
        if num_inference_steps is not None:
            update = {"steps": num_inference_steps, "levels": None}
            sampling = sampling.model_copy(update=update)
        labels = None if class_labels is None else torch.as_tensor(class_labels)
        images = self.model.sample(batch_size, seed=seed, sampling=sampling, labels=labels)
        if output_type == "pil":
            low, high = self.model.spec.low, self.model.spec.high
            if images.dtype.kind == "u":
                low = max(low, 0)  # whole numbers are cut off there
            images = self.numpy_to_pil((images.astype("float64") - low) / (high - low))
        return ImagePipelineOutput(images=images) if return_dict else (images,)
