"""Samplers: from noise to images, one generator of states a family."""
