"""One file a kind of place that images come from: each makes a `Collection` of a name."""
