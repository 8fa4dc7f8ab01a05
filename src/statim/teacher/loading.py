"""A sentence transformer is loaded and run quietly, one batch on one thread."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statim.errors import DependencyError, ModelError


def loaded(folder: Path, device: str) -> Any:
    """The SentenceTransformer of a folder; what is raised see ``Teacher.load``."""
    try:
        with _quiet():
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(
                str(folder), device=device, local_files_only=True, model_kwargs={"use_safetensors": True}
            )
    except ImportError as error:
        if "sentence_transformers" not in str(error) and "torch" not in str(error):
            raise ModelError(f"{folder} needs a package to load: {_first_line(error)}") from None
        raise DependencyError(
            'a teacher needs sentence-transformers, which is not installed; pip install "statim[train]"'
        ) from None
    except Exception as error:  # of several libraries, for every way in which a model can be broken
        raise ModelError(
            f"{folder} cannot be loaded as a sentence transformer: {_first_line(error)}"
        ) from None
    if not hasattr(model.tokenizer, "backend_tokenizer"):
        raise ModelError(f"{folder} has no fast tokenizer (tokenizer.json), which a teacher needs")
    return model


def quick_bfloat16(device: str) -> bool:
    """Does a device of this type (``cpu``, ``cuda`` …) multiply matrices of bfloat16 natively?"""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no remarks of transformers while a model loads."""
    import transformers

    logging_ = transformers.utils.logging
    verbosity, bars = logging_.get_verbosity(), logging_.is_progress_bar_enabled()
    logging_.set_verbosity_error()
    logging_.disable_progress_bar()
    try:
        yield
    finally:
        logging_.set_verbosity(verbosity)
        if bars:
            logging_.enable_progress_bar()
