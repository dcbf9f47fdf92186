"""Processes that work on one thing together: on the GPUs of one machine, or of many."""
