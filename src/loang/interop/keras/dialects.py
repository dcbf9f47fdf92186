"""Where each of the article's weights lies in what TensorFlow and Keras save, by name.

They know a weight by the attributes that lead to it. A layer of a Sequential is told by its place:
among all its layers (Keras 3 in a checkpoint: `_functional/_operations/2`), among those that have
weights (Keras 2: `layer_with_weights-1`), or among those of its class (HDF5: `layers/conv2d_1`).
Model.save_weights of Keras 2 in HDF5 knows the order alone: that of `names.article_weights`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from loang.interop.keras.names import Shape, article_weights
from loang.untrusted import shown

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/"
WITH_WEIGHTS = {
    "double_conv": {
        0: "conv2d",
        1: "group_normalization",
        3: "conv2d_1",
        4: "group_normalization_1",
    },
    "maxpool_conv": {1: "double_conv", 2: "double_conv_1"},
    "conv": {0: "double_conv", 1: "double_conv_1"},
    "emb_layer": {1: "dense"},
    "ff_self": {0: "layer_normalization", 1: "dense", 3: "dense_1"},
}
"""Of each Sequential the layers that have weights: their places, and their names in HDF5."""
OF_CLASS = {
    "inc": "double_conv",
    "down1": "down",
    "sa1": "self_attention",
    "down2": "down_1",
    "sa2": "self_attention_1",
    "down3": "down_2",
    "bot1": "double_conv_1",
    "bot2": "multi_head_attention",
    "bot3": "double_conv_2",
    "up1": "up",
    "sa3": "self_attention_2",
    "up2": "up_1",
    "sa4": "self_attention_3",
    "up3": "up_2",
    "outc": "conv2d",
}
"""The network's own layers as HDF5 counts them, where it does not name them by their attribute."""
NETWORK = tuple(f"{layer}/" for layer in OF_CLASS)
PROJECTIONS = {
    "query": "query_dense",
    "key": "key_dense",
    "value": "value_dense",
    "attention_output": "output_dense",
}


@dataclass(frozen=True)
class Layout:
    """Where everything lies.

    Args:
        weights: the article's names, each with its name in the file.
        moments: of the optimizer, m and v of each weight; empty where there are none.
        numbers: "iterations", "learning_rate", "weight_decay": where they lie.
        decoupled: whether the decay is not multiplied by the learning rate, as tfa's is not.
        notices: what was left aside, in sentences.
    """

    weights: Mapping[str, str]
    moments: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    decoupled: bool = False
    notices: Sequence[str] = ()


def of_checkpoint(shapes: Mapping[str, Shape]) -> Layout:
    """Of a TensorFlow checkpoint.

    Args:
        shapes: of all numbers in it, by name.

    Raises:
        ValueError: it is of another network, or a weight or a moment is missing or one too many.
    """
    for third in (False, True):
        last = _in_checkpoint("outc/kernel", third)
        roots = sorted(name.removesuffix(last) for name in shapes if name.endswith(last))
        if roots:
            break
    else:
        raise ValueError(f"it has no layer `outc` of the article's; it has {_some(shapes)}")
    if len(roots) > 1:
        raise ValueError(f"it has several networks: {', '.join(map(shown, roots[:4]))}")
    root = roots[0]
    weights = {name: root + _in_checkpoint(name, third) for name in article_weights()}
    if third:
        return _third(weights, shapes, root)
    held = {name.removesuffix(VALUE) for name in weights.values()}
    beside = [name for name in shapes if name not in set(weights.values())]
    start = (root,) if root else NETWORK
    own = [name for name in beside if name.startswith(start)]
    _account(weights, shapes, [name for name in own if name.partition(SLOT)[0] not in held])
    slots = sorted({name.partition(SLOT)[2].removesuffix(VALUE) for name in beside if SLOT in name})
    if not slots:
        return _listed_moments(weights, shapes)
    optimizer = slots[0].partition("/")[0]
    if slots != [f"{optimizer}/m", f"{optimizer}/v"]:
        notice = f"Its optimizer is not Adam's kind, with {', '.join(map(shown, slots[:4]))}."
        return Layout(weights, notices=[f"{notice} Only its weights are taken."])
    moments = {}
    for name, stored in weights.items():
        before = stored.removesuffix(VALUE) + SLOT
        moments[name] = f"{before}{slots[0]}{VALUE}", f"{before}{slots[1]}{VALUE}"
    numbers = {
        known: f"{optimizer}/{stored}{VALUE}"
        for known, stored in (
            ("iterations", "iter"),
            ("learning_rate", "learning_rate"),
            ("weight_decay", "weight_decay"),
        )
        if f"{optimizer}/{stored}{VALUE}" in shapes
    }
    made = Layout(weights, moments, numbers, decoupled=True)
    _check_moments(made, shapes)
    return made


def _third(weights: Mapping[str, str], shapes: Mapping[str, Shape], root: str) -> Layout:
    """Of Keras 3, whose optimizer lists the weights too: they may go by their number there."""
    optimizer = _common(name for name in shapes if "/_variables/" in name)
    listed = f"{optimizer}/_trainable_variables/"
    weights = {
        name: stored if stored in shapes else f"{listed}{at}{VALUE}"
        for at, (name, stored) in enumerate(weights.items())
    }
    known = set(weights.values())
    start = (root, listed) if root else (*NETWORK, listed)
    odd = [name for name in shapes if name.startswith(start) and name not in known]
    _account(weights, shapes, odd)
    return _listed_moments(weights, shapes)


def _listed_moments(weights: Mapping[str, str], shapes: Mapping[str, Shape]) -> Layout:
    """Of a checkpoint whose optimizer lists its numbers, as it does since TensorFlow 2.11."""
    optimizer = _common(name for name in shapes if "/_variables/" in name)
    if optimizer is None:
        return Layout(weights)
    named = f"{optimizer}/_iterations{VALUE}", f"{optimizer}/_learning_rate{VALUE}"
    return _by_number(weights, shapes, f"{optimizer}/_variables/", VALUE, named)


def of_groups(shapes: Mapping[str, Shape]) -> Layout:
    """Of HDF5 as Keras 3 writes it, and late Keras 2: `NAME.weights.h5`, and within `.keras`.

    Raises:
        ValueError: as `of_checkpoint`.
    """
    groups = {name.partition("/")[0] for name in shapes}
    mark = "_" if any("/_query_dense/" in name for name in shapes) else ""
    weights = {name: _in_groups(name, groups, mark) for name in article_weights()}
    if not set(weights.values()) & shapes.keys():
        raise ValueError(f"it has no layer of the article's; it has {_some(shapes)}")
    beside = [name for name in shapes if name not in set(weights.values())]
    _account(weights, shapes, [name for name in beside if not name.startswith("optimizer/")])
    if not any(name.startswith("optimizer/") for name in beside):
        return Layout(weights)
    named = "optimizer/vars/0", "optimizer/vars/1"
    return _by_number(weights, shapes, "optimizer/vars/", "", named)


def in_order(shapes: Mapping[str, Shape], texts: Mapping[tuple[str, str], Sequence[str]]) -> Layout:
    """Of HDF5 as `save_weights` of Keras 2 writes it: layers and weights listed in attributes.

    Raises:
        ValueError: as `of_checkpoint`.
    """
    stored = [
        f"{layer}/{weight}"
        for layer in _listed(texts, "", "layer_names")
        for weight in _listed(texts, layer, "weight_names")
    ]
    names = list(article_weights())
    if len(set(stored)) < len(stored) or len(stored) != len(names):
        raise ValueError(f"it lists {len(stored):,} weights, and the article's has {len(names):,}")
    weights = dict(zip(names, stored, strict=True))
    for name, found in weights.items():
        # Of `multi_head_attention/query/kernel:0`, what says which weight it is.
        parts, known = found.partition(":")[0].split("/"), name.split("/")
        same = parts[-1] == known[-1]
        if known[-2] in PROJECTIONS:
            same = same and parts[-2] == known[-2]
        if not same:
            raise ValueError(f"it has {shown(found)} where the article's network has {name}")
    _account(weights, shapes, [name for name in shapes if name not in set(stored)])
    return Layout(weights)


def check_shapes(
    layout: Layout, shapes: Mapping[str, Shape], expected: Mapping[str, Shape]
) -> None:
    """Whether every weight is of its shape.

    Raises:
        ValueError: one is not; names it.
    """
    for name, shape in expected.items():
        found = shapes[layout.weights[name]]
        if found != shape:
            raise ValueError(
                f"its weight {shown(layout.weights[name])} is of the shape {found}, and {name} of"
                f" the article's is {shape}"
            )


def _in_checkpoint(name: str, third: bool) -> str:
    parts, made = name.split("/"), list[str]()
    for before, part in zip(["", *parts], parts, strict=False):
        if part.isdigit() and third:
            made += ["_functional", "_operations", str(int(part) + 1)]
        elif part.isdigit():
            made.append(f"layer_with_weights-{list(WITH_WEIGHTS[before]).index(int(part))}")
        else:
            made.append(f"_{PROJECTIONS[part]}" if part in PROJECTIONS else part)
    if third and made[-1] == "kernel":
        made[-1] = "_kernel"
    return "/".join(made) + VALUE


def _in_groups(name: str, groups: set[str], mark: str) -> str:
    """In HDF5; late Keras 2 puts a mark before the names of projections."""
    parts = name.split("/")
    made = [parts[0]] if parts[0] in groups else ["layers", OF_CLASS[parts[0]]]
    for before, part in pairwise(parts[:-1]):
        if part.isdigit():
            made += ["layers", WITH_WEIGHTS[before][int(part)]]
        else:
            made.append(f"{mark}{PROJECTIONS[part]}" if part in PROJECTIONS else part)
    number = 0 if parts[-1] in ("kernel", "gamma") else 1
    return "/".join([*made, "vars", str(number)])


def _by_number(
    weights: Mapping[str, str],
    shapes: Mapping[str, Shape],
    start: str,
    end: str,
    named: tuple[str, str],
) -> Layout:
    """Steps, in Keras 3 the learning rate, then m and v of each weight: by their number."""
    count = 2 * len(weights)
    first = (
        1 if f"{start}{count}{end}" in shapes and f"{start}{count + 1}{end}" not in shapes else 2
    )
    moments = {
        name: (f"{start}{first + 2 * at}{end}", f"{start}{first + 1 + 2 * at}{end}")
        for at, name in enumerate(weights)
    }
    known = {each for pair in moments.values() for each in pair}
    if not known <= shapes.keys() or f"{start}{first + count}{end}" in shapes:
        notice = "Its optimizer has not two moments of each weight: only its weights are taken."
        return Layout(weights, notices=[notice])
    if first == 1 and end == "":
        named = named[0], ""  # its learning rate is in the config alone
    numbers = {
        name: stored
        for name, stored in zip(("iterations", "learning_rate"), named, strict=True)
        if stored in shapes
    }
    made = Layout(weights, moments, numbers)
    _check_moments(made, shapes)
    return made


def _check_moments(layout: Layout, shapes: Mapping[str, Shape]) -> None:
    for name, pair in layout.moments.items():
        for stored in pair:
            if stored not in shapes:
                raise ValueError(f"its optimizer's {shown(stored)} is missing")
            if shapes[stored] != shapes[layout.weights[name]]:
                raise ValueError(f"its optimizer's {shown(stored)} is of another shape than {name}")
    if "iterations" not in layout.numbers:
        raise ValueError("its optimizer does not say how many steps it has done")


def _account(weights: Mapping[str, str], shapes: Mapping[str, Shape], odd: Sequence[str]) -> None:
    """Raises ValueError for a weight that is missing, or one too many."""
    for name, stored in weights.items():
        if stored not in shapes:
            raise ValueError(f"the weight {name} is missing: there is no {shown(stored)}")
    if odd:
        raise ValueError(f"it has {shown(sorted(odd)[0])}, which the article's network has not")


def _listed(texts: Mapping[tuple[str, str], Sequence[str]], path: str, name: str) -> Sequence[str]:
    """An attribute of texts, which Keras cuts into name0, name1, ... where it is long."""
    if (path, name) in texts:
        return texts[path, name]
    found, number = list[str](), 0
    while (path, f"{name}{number}") in texts:
        found += texts[path, f"{name}{number}"]
        number += 1
    return found


def _common(names: Iterable[str]) -> str | None:
    found = {name.partition("/_variables/")[0] for name in names}
    return min(found) if len(found) == 1 else None


def _some(shapes: Mapping[str, Shape]) -> str:
    """A few names of what is there instead."""
    return ", ".join(shown(name, 60) for name in sorted(shapes)[:3]) or "no numbers"
