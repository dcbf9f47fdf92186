"""Nothing in loang runs what a file says: no pickle, no torch.load, no eval, nowhere.

The source is read as Python reads it, so that comments and texts do not count, and other names for
the same function do.
"""

import ast
import builtins
from pathlib import Path

import pytest

import loang

SOURCES = Path(loang.__file__).parent
MODULES = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("runpy", "code", "pty", "pandas"),
}
"""Modules that are not imported at all."""
NAMES = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("torch.load", "torch.save", "torch.jit", "torch.hub.load", "torch.package"),
    *("torch.serialization", "torch.storage._load_from_bytes", "yaml.load", "yaml.unsafe_load"),
    *("yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader", "numpy.load", "numpy.save"),
    *("numpy.lib.format.read_array", "numpy.lib.format.write_array", "numpy.fromregex"),
    "subprocess.getoutput",
}
"""Functions, and modules with all that is in them, that are not even mentioned."""
HARMLESS = {
    **dict.fromkeys(
        (
            *("numpy.load", "numpy.save"),
            *("numpy.lib.format.read_array", "numpy.lib.format.write_array"),
        ),
        ("allow_pickle", False),
    ),
}
"""Those that may be called with this argument, written out."""
ALLOWED = {
    # The published weights of Inception are a pickle. The file is read only where it is that one
    # byte for byte, as tensors alone, and handed to torch-fidelity as a copy of these tensors.
    ("metrics/features/inception.py", "torch.load"),
    ("metrics/features/inception.py", "torch.save"),
}


class Search(ast.NodeVisitor):
    """Finds the forbidden in one source; `found` are names and lines."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}  # what a name stands for
        self.found: list[tuple[str, int]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.check(alias.name, node.lineno)
            top = alias.name.partition(".")[0]
            self.known[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = f"{node.module or ''}.{alias.name}"
            self.check(name, node.lineno)
            if alias.name == "*":
                self.found.append((name, node.lineno))
            self.known[alias.asname or alias.name] = name

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        meant = self.name(node.value)
        for target in node.targets:
            if meant and isinstance(target, ast.Name):
                self.known[target.id] = meant

    def visit_Call(self, node: ast.Call) -> None:
        name = self.name(node.func)
        given = {key.arg: key.value for key in node.keywords}
        if name and name in HARMLESS:
            argument, value = HARMLESS[name]
            if isinstance(given.get(argument), ast.Constant) and given[argument].value is value:
                for part in (*node.args, *given.values()):
                    self.visit(part)
                return
        shell = given.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            self.found.append(("shell", node.lineno))
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        if name == "getattr" and len(node.args) > 1:
            self.check(f"{self.name(node.args[0])}.{texts[0] if texts else ''}", node.lineno)
        if name == "importlib.import_module" and texts:
            self.check(str(texts[0]), node.lineno)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.name(node)
        if name:
            self.check(name, node.lineno)
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.check(self.name(node) or "", node.lineno)

    def name(self, node: ast.AST) -> str | None:
        """The whole name of what an expression means, where it starts at an import or built in."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id, node.id if hasattr(builtins, node.id) else None)
        if isinstance(node, ast.Attribute) and (owner := self.name(node.value)):
            return f"{owner}.{node.attr}"
        return None

    def check(self, name: str, line: int) -> None:
        name = name.removeprefix("builtins.").removeprefix("__builtins__.")
        parts = name.split(".")
        starts = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if parts[0] in MODULES or starts & NAMES:
            self.found.append((name, line))


def forbidden(source: str) -> list[tuple[str, int]]:
    search = Search()
    search.visit(ast.parse(source))
    return search.found


def test_nothing_in_loang_runs_what_a_file_says():
    found = {
        (path.relative_to(SOURCES).as_posix(), name)
        for path in sorted(SOURCES.rglob("*.py"))
        for name, _ in forbidden(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


def test_the_one_pickle_is_read_as_tensors_alone():
    tree = ast.parse((SOURCES / "metrics/features/inception.py").read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert len(calls) == 1
    assert {key.arg: ast.unparse(key.value) for key in calls[0].keywords}["weights_only"] == "True"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as harmless",
        "from pickle import loads as json_loads",
        "import dill, json",
        "import joblib.numpy_pickle",
        "from marshal import load",
        "import shelve",
        "import cloudpickle",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x', weights_only=True)",
        "from torch import load\nload('x')",
        "from torch import load as read",
        "import torch\nread = torch.load\nread('x')",
        "import torch as t\nx = t\nx.load('x')",
        "import torch\ngetattr(torch, 'load')('x')",
        "import torch\ntorch.jit.load('x')",
        "from torch import jit\njit.load('x')",
        "from torch.jit import load",
        "import torch.serialization",
        "import torch\ntorch.save({}, 'x')",
        "from torch import *",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nflag = False\nnp.load('x', allow_pickle=flag)",
        "import numpy as np\nread = np.load",
        "from numpy import load as look\nlook('x')",
        "import numpy as np\nnp.save('x', np.zeros(3))",
        "import numpy as np\nnp.lib.format.read_array(file)",
        "from numpy.lib import format\nformat.read_array(file)",
        "eval('1')",
        "run = eval\nrun('1')",
        "list(map(eval, ['1']))",
        "exec('1')",
        "compile('1', '', 'eval')",
        "import builtins\nbuiltins.eval('1')",
        "from builtins import exec as run",
        "__import__('os')",
        "import importlib\nimportlib.import_module('pickle')",
        "from importlib import import_module as find\nfind('dill')",
        "import yaml\nyaml.load('x')",
        "from yaml import load",
        "import yaml\nyaml.safe_load('x', Loader=yaml.Loader)",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "from subprocess import Popen as start\nstart('x', shell=bool(1))",
        "import os\nos.system('x')",
        "from os import popen",
        "import pandas as pd\npd.read_pickle('x')",
        "def read(path):\n    from torch import load\n    return load(path)",
        "class Reader:\n    def read(self):\n        import pickle",
    ],
)
def test_the_search_finds_each_by_any_name(source):
    assert forbidden(source)


@pytest.mark.parametrize(
    "source",
    [
        "# import pickle; eval('1')\n'torch.load(x)'",
        "model.eval()\nself.denoiser.eval()",
        "import re\nre.compile('x')",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import numpy as np\nnp.save('x', values, allow_pickle=False)",
        "import json\njson.load(file)",
        "from loang.metrics.features.network import load\nload(path)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import yaml\nyaml.safe_load('x')",
        "from safetensors.torch import load as load_bytes\nload_bytes(b'')",
        "import torch\ntorch.compile(x)",
    ],
)
def test_the_search_leaves_the_harmless_alone(source):
    assert forbidden(source) == []
