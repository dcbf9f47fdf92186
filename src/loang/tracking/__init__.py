"""A run shown in other tools while it trains: TensorBoard, trackio, Weights & Biases, MLflow.

Each tracker is a process of its own that reads what the run writes, `log.jsonl` above all, and
tells it on. So none of them can stop a run or slow it, whatever it prints, raises or waits for; and
what they show is what the log says, whenever they were asked for, and whatever was cut from it.
"""
