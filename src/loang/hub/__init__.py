"""The Hugging Face hub: models fetched from it, and what goes wrong with any part of it."""
