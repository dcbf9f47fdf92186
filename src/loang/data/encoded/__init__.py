"""One picture, a file or its bytes: header, pixels at their own depth, and the limits kept."""
