"""ONNX: the network of a model as a graph, with a sampler beside it that needs no torch."""
