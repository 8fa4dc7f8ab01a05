"""Code that was compiled beforehand is used where it fits, and only there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import types

import statim
from statim.kernels import prepared, processor, signatures

SKYLAKE = dict.fromkeys(processor.V4, True)
needs_level = pytest.mark.skipif(processor.level() is None, reason="no code is prepared for this processor")


def test_levels():
    def chosen(features, wide=False):
        return [level.name for level in processor.LEVELS if level.fits(features, wide)]

    assert chosen({}) == chosen({"sse4.2": True}) == []
    assert chosen(dict.fromkeys(processor.V3, True)) == ["x86-64-v3"]
    assert chosen(dict.fromkeys(processor.V3, True), wide=True) == ["x86-64-v3"]
    assert chosen(SKYLAKE) == ["x86-64-v4"]
    assert chosen(SKYLAKE | {"avx512vnni": True, "amx-int8": True}) == ["x86-64-v4-vnni"]
    assert chosen(SKYLAKE | {"avx512vnni": True}, wide=True) == ["x86-64-v4-vnni-wide"]
    # what kernels are written differently for decides, not what they could run on
    assert chosen(SKYLAKE | {"avx512vl": False}) == []
    assert chosen(dict.fromkeys(processor.V3, True) | {"avx512vnni": True}) == []


def test_signatures_are_read_as_written():
    matrix = types.Array(types.float32, 2, "C", readonly=True)
    given = (matrix, types.Array(types.boolean, 1, "C"), types.int64, types.boolean, types.Omitted(0))
    text = signatures.written(given)
    assert text == "const float32[:, ::1]; bool[::1]; int64; bool; =0"
    assert signatures.read(text) == given
    assert signatures.read("") == ()
    with pytest.raises(ValueError, match="cannot be given"):
        signatures.written((types.unicode_type,))
    with pytest.raises(ValueError, match="is no type"):
        signatures.read("float32[:]")


def test_every_listed_signature_is_of_a_kernel_and_can_be_read():
    texts = {path: path.read_text(encoding="utf-8") for path in prepared.sources()}
    for name, listed in signatures.listed().items():
        module, _, function = name.removeprefix("statim.kernels.").rpartition(".")
        assert f"\ndef {function}(" in texts[prepared.KERNELS.joinpath(*module.split(".")).with_suffix(".py")]
        assert [signatures.written(signatures.read(one)) for one in listed] == listed


def test_all_kernels_are_looked_for_among_prepared_code():
    own = "from statim.kernels.prepared import njit\n"
    for path in prepared.sources():
        text = path.read_text(encoding="utf-8")
        assert ("\n@njit(" in text) == (own in text), path


PROGRAM = """
import numpy as np
from statim.kernels.hashing import mixed
from statim.kernels.text.identity import move
keys, values = np.array([[1, 2], [0, 0]], np.uint64), np.array([7, -1], np.int32)
larger, places = np.zeros((4, 2), np.uint64), np.full(4, -1, np.int32)
move(keys, values, larger, places)
assert sorted(places.tolist()) == [-1, -1, -1, 7] and larger.sum() == 3
print(sum(move.stats.cache_misses.values()))
"""

PREPARE = """
from statim.kernels.prepare import prepare
from statim.kernels.processor import LEVELS, level
list(map(prepare, {}))
"""


class Site:
    """A copy of the package with few kernels, whose cache of compiled code is empty each time."""

    def __init__(self, place):
        source = Path(statim.__file__).parent
        ignore = shutil.ignore_patterns("__pycache__", "code", "gpu", "search", "training", "pooling")
        shutil.copytree(source / "kernels", place / "statim" / "kernels", ignore=ignore)
        for path in source.glob("*.py"):
            shutil.copy(path, place / "statim")
        self.place, self.kernels = place, place / "statim" / "kernels"
        names = [f"statim.kernels.text.identity.{name}" for name in ("move", "fingerprints")]
        listed = {name: signatures.listed()[name] for name in names}
        (self.kernels / "signatures.json").write_text(json.dumps(listed), encoding="utf-8")

    def run(self, program, **environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
        clean |= {"PYTHONPATH": str(self.place), "PYTHONDONTWRITEBYTECODE": "1"} | environment
        done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def compiled(self, tmp_path, **environment):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return int(self.run(PROGRAM, NUMBA_CACHE_DIR=str(tmp_path / "cache"), **environment))

    def files(self):
        return {path.name: path.read_bytes() for path in (self.kernels / "code").glob("*.kernels")}


@needs_level
def test_prepared_code_is_used_while_it_fits(tmp_path):
    site = Site(tmp_path / "site")
    assert site.compiled(tmp_path) == 1
    site.run(PREPARE.format("[level()]"))
    ((name, content),) = site.files().items()
    for folder in (tmp_path, Path(types.__file__).parent.parent):
        assert str(folder).encode() not in content
    assert site.compiled(tmp_path) == 0
    assert not list(tmp_path.rglob("*.nbc"))
    # numba is told to compile for another processor, or with other checks
    assert site.compiled(tmp_path, NUMBA_CPU_NAME="generic") == 1
    assert site.compiled(tmp_path, NUMBA_BOUNDSCHECK="1") == 1
    # cut off
    (site.kernels / "code" / name).write_bytes(content[:-1])
    assert site.compiled(tmp_path) == 1
    # another kernel has changed, and might be part of this one
    (site.kernels / "code" / name).write_bytes(content)
    with (site.kernels / "hashing.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert site.compiled(tmp_path) == 1


@needs_level
@pytest.mark.long
def test_the_same_sources_give_the_same_bytes(tmp_path):
    one, other = Site(tmp_path / "one"), Site(tmp_path / "other")
    for site in (one, other):
        site.run(PREPARE.format("LEVELS"))
    assert len(one.files()) == len(processor.LEVELS)
    assert one.files() == other.files()


WORDS = [
    "apple",
    "bread",
    "cheese",
    "dates",
    "eggs",
    "figs",
    "grapes",
    "honey",
    "ice",
    "jam",
    "kale",
    "lemon",
]


@pytest.fixture(scope="module")
def food(tmp_path_factory):
    """A folder with pairs and texts of few words."""
    folder = tmp_path_factory.mktemp("food")
    texts = [f"{a} with {b} and {c}" for a in WORDS for b in WORDS for c in WORDS[:3]]
    pairs = [{"anchor": f"what is {text}", "positive": text} for text in texts]
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    return folder


@pytest.mark.long
@pytest.mark.skipif(not prepared.prepared().holds(), reason="run statim cache compile first")
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "pairs.jsonl", "--start", "random", "-o"],
        ["mine", "pairs.jsonl", "-o"],
        ["index", "build", "texts.txt", "-o"],
        ["encode", "texts.txt", "-o"],
        ["duplicates", "texts.txt", "-o"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_usual_runs_compile_nothing(food, tmp_path, arguments):
    """If this fails, a kernel is called with other types: run benchmarks/kernel_signatures.py."""
    ending = {"mine": ".jsonl", "encode": ".npy", "duplicates": ".jsonl"}.get(arguments[0], "")
    program = "import sys; from statim.cli import main; sys.argv[0] = 'statim'; main()"
    subprocess.run(
        [sys.executable, "-c", program, *arguments, str(tmp_path / f"out{ending}")],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")},
        cwd=food,
        check=True,
        capture_output=True,
    )
    assert not sorted(path.name for path in tmp_path.rglob("*.nbi"))
