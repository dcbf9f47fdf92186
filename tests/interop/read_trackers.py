"""What a tracker's own store holds of a run, as JSON: `python read_trackers.py NAME FOLDER`.

A process of its own: these packages warn, print, and keep their folder from their first import.
"""

import json
import os
import struct
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType


def tensorboard(folder):
    # TensorFlow, where it is installed, would be asked to read the files.
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    everything = {"tensors": 0, "images": 0, "scalars": 0}
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance=everything).Reload()
    values = {
        tag: [[event.step, event.value] for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    words = {
        tag: [make_ndarray(event.tensor_proto).item().decode() for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }
    lines = words.pop("settings")[-1].splitlines()[2:]
    split = [line.strip("| ").split(" | ", 1) for line in lines]
    return {
        "values": values,
        "settings": {key: json.loads(value) for key, value in split},
        "pictures": {
            tag: [[event.step, event.width, event.height] for event in events.Images(tag)]
            for tag in events.Tags()["images"]
        },
        "words": words,
        "models": len(words.get("model", ())),
    }


def trackio(folder):
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_run_records("loang")
    rows = SQLiteStorage.get_logs("loang", run["name"], run_id=run["id"])
    pictures = defaultdict(list)
    for row in rows:
        for key, value in row.items():
            if isinstance(value, dict) and value.get("_type", "").startswith("trackio."):
                pictures[key].append([row["step"]])
    settings = SQLiteStorage.get_run_config("loang", run["name"], run_id=run["id"])
    return {
        "values": _series(rows, {"step", "timestamp"}),
        "settings": {key: value for key, value in settings.items() if key[0] != "_"},
        "pictures": pictures,
        "models": len(SQLiteStorage.get_artifacts("loang")),
    }


def wandb(folder):
    from wandb.proto import wandb_internal_pb2

    note = json.loads((folder / "tracking" / "wandb.json").read_text())
    rows, settings, models, ends = [], {}, 0, []
    for path in sorted(folder.glob(f"wandb/offline-run-*/run-{note['identity']}.wandb")):
        for content in _level_db(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(content)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                items = record.history.item
                rows.append(
                    {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items}
                )
            elif kind == "run":
                updates = record.run.config.update
                settings |= {update.key: json.loads(update.value_json) for update in updates}
            elif kind == "artifact":
                models += record.artifact.type == "model"
            elif kind == "exit":
                ends.append(record.exit.exit_code)
    pictures = defaultdict(list)
    for row in rows:
        for key in [key for key in row if key.endswith("._type")]:
            pictures[key.removesuffix("._type")].append([row["step"]])
    plain = [row for row in rows if not any("." in key for key in row)]
    return {
        "values": _series(plain, {"step", "_step", "_runtime", "_timestamp"}),
        "settings": {key: value for key, value in settings.items() if key[0] != "_"},
        "pictures": pictures,
        "models": models,
        "ends": ends,
        "rows": [row["_step"] for row in rows],
    }


def mlflow(folder):
    from mlflow import MlflowClient

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(uri or f"sqlite:///{folder.resolve() / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("loang")
    (run,) = client.search_runs([experiment.experiment_id])
    values = {}
    for key in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, key)
        history.sort(key=lambda metric: metric.timestamp)
        values[key] = [[metric.step, metric.value] for metric in history]
    artifacts = [each.path for each in client.list_artifacts(run.info.run_id)]
    pictures = {}
    for title in set(artifacts) - {"model"}:
        found = client.list_artifacts(run.info.run_id, title)
        pictures[title] = [[Path(each.path).name] for each in found]
    return {
        "values": values,
        "settings": run.data.params,
        "pictures": pictures,
        "models": "model" in artifacts,
        "ends": [run.info.status],
        "words": {key: value for key, value in run.data.tags.items() if "mlflow" not in key},
    }


def _series(rows, others):
    values = defaultdict(list)
    for row in rows:
        for key, value in row.items():
            if key not in others and isinstance(value, int | float):
                values[key].append([row["step"], value])
    return values


def _level_db(content):
    """W&B's records: LevelDB's log format, after seven bytes of its own."""
    at, part = 7, b""
    while at + 7 <= len(content):
        left = 2**15 - at % 2**15
        if left < 7:  # too little for a head
            at += left
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        part = (part if kind in (3, 4) else b"") + content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield part


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))
