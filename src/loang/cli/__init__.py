"""The command line: one file a verb. It parses, calls the Python API and prints."""
