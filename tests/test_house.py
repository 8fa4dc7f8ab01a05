"""The rules of the house: what may import what, and what the repository never holds."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import statim

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

# Lowest first. A file imports from lower floors, and from its own package.
FLOORS = [
    ["counted", "errors", "strict_json"],
    ["partial", "addresses"],
    ["files", "models", "option", "scripts", "settings", "texts", "threads"],
    ["consistent", "digests"],
    ["tensors", "cache", "progress"],
    ["kernels", "quantize", "spilled_array"],
    ["identity", "tokenizer"],
    ["vocabulary", "formats"],
    ["model"],
    ["teacher", "on_device"],
    ["data"],
    ["search"],
    ["evaluation"],
    ["mining"],
    ["training"],
    ["tasks", "scale"],
    ["insight"],
    ["checking"],
    ["server", "integrations"],
    ["cli"],
    ["__main__"],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# What takes long to import, and the files that may do so at their top; all others do it inside a function
HEAVY = {
    "numba": ["kernels/"],
    "pyarrow": [
        "data/",
        "vocabulary/",
        "search/stores/documents.py",
        "search/stores/folder.py",
        "search/stores/lance",
        "search/stores/shards.py",
        "search/stores/spool.py",
        "search/stores/postgres",
        "search/stores/columns.py",
        "search/filters/arrow.py",
        "evaluation/",
        "mining/",
        "training/",
        "tasks/",
        "insight/maps/",
        "scale/",
    ],
    "torch": [
        "training/losses/contrastive.py",
        "training/needs_torch.py",
        "training/loop/trainer.py",
        "training/sentence_transformer.py",
        "training/device/",
        "kernels/gpu/",
    ],
    "triton": ["kernels/gpu/"],
    "bm25s": [],
    "evoc": [],
    "datasets": [],
    "docx": [],
    "faiss": [],
    "fsspec": [],
    "huggingface_hub": [],
    "lancedb": [],
    "model2vec": [],
    "pandas": [],
    "pgvector": [],
    "polars": [],
    "psycopg": [],
    "pypdf": [],
    "ray": [],
    "rich": [],
    "scipy": [],
    "sentence_transformers": [],
    "sklearn": ["tasks/embedder.py"],
    "transformers": [],
}


def modules() -> dict[str, Path]:
    """Every module of the package, by its name without ``statim.``; the package itself is the empty name."""
    found = {}
    for path in sorted(SOURCE.glob("statim/**/*.py")):
        parts = path.relative_to(SOURCE / "statim").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every imported module, those inside functions and under TYPE_CHECKING too, with its statement."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole.removeprefix("statim.") in MODULES else node.module), node


def ours(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of statim that a file imports, with the line."""
    for name, node in imports(path):
        if name.startswith("statim."):
            yield name.removeprefix("statim."), node.lineno


def test_every_module_has_a_floor():
    assert {name.split(".")[0] for name in MODULES if name} <= FLOOR.keys()


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_point_downwards(name):
    package = name.split(".")[0]
    for imported, line in ours(MODULES[name]):
        assert imported in MODULES, f"{MODULES[name]}:{line} imports statim.{imported}, which does not exist"
        other = imported.split(".")[0]
        assert other == package or FLOOR[other] < FLOOR[package], (
            f"{MODULES[name]}:{line}: {package} (floor {FLOOR[package]}) imports {other} (floor "
            f"{FLOOR[other]})"
        )


def test_no_import_cycle():
    graph = {
        name: {imported for imported, _ in ours(path)} - {name} for name, path in MODULES.items() if name
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


FOLDERS = sorted(
    {".".join(name.split(".")[:depth]) for name in MODULES for depth in range(name.count(".") + 1)}
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circle_of_rooms(folder):
    """Files and folders inside a folder have an order, in which each imports only earlier ones."""
    depth = folder.count(".") + 1 if folder else 0
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        room = ".".join(name.split(".")[: depth + 1])
        if not name or not name.startswith(f"{folder}." if folder else ""):
            continue
        others = {".".join(imported.split(".")[: depth + 1]) for imported, _ in ours(path)}
        graph.setdefault(room, set()).update(
            other for other in others - {room} if other.startswith(f"{folder}." if folder else "")
        )
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circle of rooms: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_imports_happen_where_they_are_needed(library):
    for path in MODULES.values():
        place = path.relative_to(SOURCE / "statim").as_posix()
        if any(place.startswith(allowed) for allowed in HEAVY[library]):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert library not in {name.split(".")[0] for name in names}, (
                f"{place}:{node.lineno} imports {library} at its top"
            )


@pytest.mark.parametrize(
    "what", ["import statim", "import statim; statim.StaticModel; statim.Settings", "statim --help"]
)
def test_starting_loads_nothing_heavy(what):
    code = what
    if what == "statim --help":
        code = (
            "import sys; sys.argv = ['statim', '--help']; from statim.cli import main\ntry: "
            "main()\nexcept SystemExit: pass"
        )
    code += f"\nimport sys; print('loaded:', *sorted(set({list(HEAVY)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    if what == "statim --help":
        loaded -= {"rich"}  # the option parser's
    assert loaded == set()


def test_a_few_texts_need_no_compiled_code():
    code = """
        import sys
        import numpy as np, tokenizers
        from tokenizers import models
        from statim import StaticModel
        backend = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        model = StaticModel(np.eye(2), backend)
        model.encode("a"), model.encode(["a", "b"] * 100), model.similarity(["a"], ["b"])
        print(*{"numba", "torch", "pyarrow"} & set(sys.modules))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "\n", done.stderr


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield name, node


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_pickle(path):
    """Nothing that can run code hidden in a file is ever used to read one.

    Compiled kernels, which come with the package and are code, are read as numba reads its own cache.
    """
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    if path == SOURCE / "statim" / "kernels" / "prepared.py":
        unsafe.remove("pickle")
    assert not unsafe & {name.split(".")[0] for name, _ in imports(path)}
    for name, call in calls(ast.parse(path.read_text(encoding="utf-8"))):
        options = {keyword.arg: keyword.value for keyword in call.keywords}
        allowed = options.get("allow_pickle")
        assert allowed is None or (isinstance(allowed, ast.Constant) and allowed.value is False), (
            f"{path}:{call.lineno}"
        )
        assert name not in {"eval", "exec", "read_pickle"}, f"{path}:{call.lineno}"
        holder = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name == "load" and isinstance(holder, ast.Name) and holder.id == "torch":
            assert "weights_only" in options, (
                f"{path}:{call.lineno} reads with torch.load and without weights_only"
            )


@pytest.mark.parametrize("name", statim.__all__)
def test_public_names(name):
    thing = getattr(statim, name)
    assert inspect.getdoc(thing)
    assert name in dir(statim)
    module = importlib.import_module(thing.__module__)
    assert getattr(module, name) is thing
    if inspect.isclass(thing):
        for attribute, value in vars(thing).items():
            if callable(value) and not attribute.startswith("_"):
                assert inspect.getdoc(value), f"{name}.{attribute} has no docstring"


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'statim' has no attribute 'transformer'"):
        statim.transformer  # noqa: B018


def test_the_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == statim.__version__
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["statim"]
    assert (SOURCE / "statim" / "py.typed").exists()
    for name in (project["project"]["readme"], *project["project"]["license-files"]):
        assert (ROOT / name).stat().st_size > 1000


def requirements(lines: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]).lower() for line in lines}


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin) for pin in pins)
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    assert requirements([*project["dependencies"], *extras]) - {"statim"} <= requirements(pins)


def tracked() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_repository_names_no_registry_and_no_machine():
    hosts = [
        "py" + "pi.org",
        "pythonhosted" + ".org",
        "npmjs" + ".com",
        "npmjs" + ".org",
        "download.pytorch" + ".org",
    ]
    places = ["/" + "work/", "/" + "root/", "/" + "home/"]
    forbidden = re.compile(
        "|".join(map(re.escape, hosts)) + "|" + "|".join(rf"(?<![\w.\-/]){place}" for place in places)
    )
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found = forbidden.search(line)
            assert not found, f"{path.relative_to(ROOT)}:{number} holds {found.group()}"


def test_words_that_the_field_does_not_use():
    """Docstrings, comments, messages and pages say again, N or anyone."""
    forbidden = re.compile(r"\b(anew|so many|whoever|shall)\b")
    for path in tracked():
        if path.suffix in (".py", ".md") and path.relative_to(ROOT).parts[0] in ("src", "docs", "README.md"):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found = forbidden.search(line)
                assert not found, f"{path.relative_to(ROOT)}:{number} says {found.group()!r}"


def test_the_repository_is_small():
    """Data, models and vectors stay out of it."""
    bundled = SOURCE / "statim" / "models"  # whose size tests/test_models.py checks
    assert max(path.stat().st_size for path in tracked() if bundled not in path.parents) < 200_000
