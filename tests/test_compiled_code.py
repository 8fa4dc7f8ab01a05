"""Compiled code is kept: no process compiles what another has compiled, wherever statim is installed."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import statim

PROGRAM = """
import numpy as np, tokenizers
from tokenizers import models, pre_tokenizers
from statim import StaticModel
backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
vectors = StaticModel(np.eye(3, dtype=np.float32), backend).encode(["a b"] * 300)
assert np.allclose(vectors, [[0.5**0.5, 0.5**0.5, 0]])
from statim.kernels.pooling import pool
from statim.kernels.text import pieces
compiled = [pool._pool_float, pieces.look_up]
print(sum(sum(function.stats.cache_misses.values()) for function in compiled), statim.__file__)
""".replace("from statim import StaticModel", "import statim\nfrom statim import StaticModel")


@pytest.fixture
def site(tmp_path):
    """A copy of the package whose folders of compiled code cannot be written to: a file is in the place of
    each.
    """
    source = Path(statim.__file__).parent
    without = shutil.ignore_patterns("__pycache__", "code")  # nothing is compiled beforehand
    shutil.copytree(source, tmp_path / "site" / "statim", ignore=without)
    kernels = tmp_path / "site" / "statim" / "kernels"
    for folder in [kernels, *filter(Path.is_dir, kernels.iterdir())]:
        (folder / "__pycache__").write_bytes(b"")
    return tmp_path / "site"


def start(site, home):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG"))}
    environment |= {"PYTHONPATH": str(site), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def compiled(process, site):
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    count, path = out.split()
    assert path.startswith(str(site))
    return int(count)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_package_that_cannot_be_written_to(site, tmp_path):
    """Two processes at once compile into the user's cache; the next compiles nothing; one without a home
    still works.
    """
    together = [start(site, tmp_path / "home") for _ in range(2)]
    assert all(compiled(process, site) <= 2 for process in together)
    assert list((tmp_path / "home" / ".cache" / "numba").rglob("*.nbc"))
    assert compiled(start(site, tmp_path / "home"), site) == 0
    (tmp_path / "none").write_bytes(b"")
    assert compiled(start(site, tmp_path / "none"), site) == 2
    assert not list(site.rglob("*.nbc"))


def jitted():
    """Every function of the kernels that numba compiles, by its module and name: its decorator, and the
    modules and names of what it calls.
    """
    package = Path(statim.__file__).parent
    for path in (package / "kernels").rglob("*.py"):
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        body = ast.parse(path.read_text(encoding="utf-8")).body
        imports = [node for node in body if isinstance(node, ast.ImportFrom)]
        imported = {a.asname or a.name: (node.module, a.name) for node in imports for a in node.names}
        for node in body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith("njit"):
                    names = [ast.unparse(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)]
                    yield (module, node.name), decorator, {imported.get(n, (module, n)) for n in names}


def test_helpers_whose_sums_may_be_ordered_anew_are_inlined():
    """A helper that stays a function is compiled by itself and inside its caller. The process that compiles
    runs the first, one that
    finds the caller in numba's cache the second, and with fastmath their bits may differ."""
    functions = {place: (decorator, called) for place, decorator, called in jitted()}
    calls = {place: called & functions.keys() for place, (_, called) in functions.items()}

    def is_free(place):
        return "fastmath" in functions[place][0] or any(map(is_free, calls[place]))

    free = {
        place
        for place in set().union(*calls.values())
        if "cache=True" in functions[place][0] and is_free(place)
    }
    assert {"forward_row", "_adam", "_scale"} <= {name for _, name in free}
    wrong = sorted(".".join(place) for place in free if "inline" not in functions[place][0])
    assert not wrong, f"give these forceinline=True: {', '.join(wrong)}"
