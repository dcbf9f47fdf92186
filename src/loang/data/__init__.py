"""Where images come from, what they are, and in which order they are read."""
