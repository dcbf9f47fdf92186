"""A run on the Hugging Face hub: which files are sent, its card, and the sending."""
