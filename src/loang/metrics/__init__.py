"""How far samples are from real images: measures on feature vectors, and the features."""
