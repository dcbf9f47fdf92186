"""Train, sample, measure and show diffusion models on your own images."""
