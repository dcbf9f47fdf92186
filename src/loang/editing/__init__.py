"""Using a model on pictures: filling, changing, joining and cleaning them, to latents and back."""
