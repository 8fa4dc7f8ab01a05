"""Models by their name on the Hugging Face hub: from its cache on this machine, else downloaded into it."""

import os
import re
from pathlib import Path
from typing import Any

from statim.errors import ModelError
from statim.formats.huggingface import check_static

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
ORGANIZATION = "sentence-transformers"  # whose models are known by their bare names
SMALL = (
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "README.md",
    "1_Normalize/config.json",
)
LARGE = tuple(
    f"{folder}{name}"
    for folder in ("", "0_StaticEmbedding/")
    for name in ("model.safetensors", "tokenizer.json")
)
TRANSFORMER = ("*.json", "*.txt", "*.model", "*.safetensors")
PATIENCE = 5.0  # seconds for the hub's first answer


def resolve(name: str, *, static: bool = True) -> Path:
    """The folder of a model on the hub.

    One that is in the cache is used as it is, without a look at the network.

    Only the files that a model of the wanted kind has are downloaded, for a static one the small ones first:
    a model of another kind is refused before its weights are fetched. HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT
    and HF_TOKEN are honoured by huggingface_hub.

    Args:
        name: ``organisation/model``, or the bare name of a model of sentence-transformers.
        static: The model is static; else it is a transformer.

    Raises:
        ModelError: There is no such model, it is not static, the hub cannot be reached, or huggingface_hub is
            not installed.
    """
    if not NAME.fullmatch(name) or ".." in name or "--" in name:
        raise _refusal(
            name,
            "nor can it be a name on the Hugging Face hub (organisation/model)",
            "give the path of a model",
        )
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise _refusal(
            name,
            "and huggingface_hub, which would look on the hub, is not installed",
            "pip install 'statim[hub]'",
        ) from None
    repository = name if "/" in name else f"{ORGANIZATION}/{name}"
    found = _cached(huggingface_hub, repository, static)
    if found is not None:
        return found
    try:
        if not os.isatty(2):
            disable_progress_bars()
        _check_reachable(huggingface_hub, repository)
        if not static:
            return Path(huggingface_hub.snapshot_download(repository, allow_patterns=TRANSFORMER))
        check_static(Path(huggingface_hub.snapshot_download(repository, allow_patterns=SMALL)))
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=[*SMALL, *LARGE]))
    except ModelError:
        raise
    except Exception as error:  # of several libraries, and not the same ones in each version
        raise _refusal(name, *_reason(error, repository)) from None


def cached(name: str, *, static: bool = True) -> Path | None:
    """The folder of a model in this machine's hub cache, if complete; never asks the network."""
    try:
        import huggingface_hub
    except ImportError:
        return None
    return _cached(huggingface_hub, name if "/" in name else f"{ORGANIZATION}/{name}", static)


def _cached(huggingface_hub: Any, repository: str, static: bool) -> Path | None:
    patterns = [*SMALL, *LARGE] if static else TRANSFORMER
    try:
        folder = Path(
            huggingface_hub.snapshot_download(repository, allow_patterns=patterns, local_files_only=True)
        )
    except Exception:  # not there: which error says so differs between versions
        return None
    if not static:
        return folder if (folder / "config.json").exists() and any(folder.rglob("*.safetensors")) else None
    return (
        folder
        if any(all((folder / name).exists() for name in pair) for pair in (LARGE[:2], LARGE[2:]))
        else None
    )


def _check_reachable(huggingface_hub: Any, repository: str) -> None:
    """One question with a short patience: the downloads would wait for an unreachable hub much longer."""
    huggingface_hub.HfApi().model_info(repository, timeout=PATIENCE)


def _reason(error: Exception, repository: str) -> tuple[str, str]:
    """Why the hub did not give the model, and what to do."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    offline = "OfflineModeIsEnabled" in kinds or "outgoing traffic has been disabled" in str(error)
    if offline:
        return (
            "is not in the hub's cache, and HF_HUB_OFFLINE forbids to look further",
            "download it where there is a network",
        )
    if "GatedRepoError" in kinds:
        return f"{repository} on the hub is gated", "accept its terms there and log in (hf auth login)"
    if "RepositoryNotFoundError" in kinds:
        return (
            f"the hub has no model {repository}, or it is private",
            "correct the name, or log in (hf auth login)",
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered {status} for {repository}", "try again later"
    first = (str(error).splitlines() or [""])[0][:120]
    return (
        f"the hub cannot be reached to look for {repository} ({type(error).__name__}: {first})",
        "give the path of a model on this machine, or try again with a network",
    )


def _refusal(name: str, why: str, remedy: str) -> ModelError:
    joined = why if why.startswith(("nor", "and")) else f"and {why}"
    return ModelError(f"{name[:200]!r} is neither a folder nor a file here, {joined}; {remedy}")
