"""What is right and what is wrong with a run, a model or a data set, in plain sentences."""
