"""`loang import`: one file a neighbour."""

import typer

from loang.cli.importing import denoising_diffusion, diffusers, guided_diffusion, keras

app = typer.Typer(help="Bring a model from another tool.", no_args_is_help=True)
app.command("denoising-diffusion")(denoising_diffusion.denoising_diffusion)
app.command("diffusers")(diffusers.diffusers)
app.command("guided-diffusion")(guided_diffusion.guided_diffusion)
app.command("keras")(keras.keras)
