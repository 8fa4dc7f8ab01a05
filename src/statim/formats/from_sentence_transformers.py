"""Folders that sentence-transformers wrote: a StaticEmbedding, and perhaps a Normalize after it."""

import json
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

from statim.errors import ModelError
from statim.files import read_json
from statim.formats import card
from statim.settings import Settings

# The class has been written as sentence_transformers.models.StaticEmbedding,
# …models.StaticEmbedding.StaticEmbedding and …sentence_transformer.modules.static_embedding.StaticEmbedding;
# Normalize likewise. The ends have not changed.
STATIC, NORMALIZE = "StaticEmbedding", "Normalize"


def read_modules(folder: Path) -> list[dict[str, Any]] | None:
    """The entries of modules.json, checked to be a static model; None where there is no such file.

    Raises:
        ModelError: The file is malformed, or names a module that a static model does not have.
    """
    path = folder / "modules.json"
    if not path.exists():
        return None
    modules = read_json(path)
    if not isinstance(modules, list) or not modules or not all(_is_entry(entry) for entry in modules):
        raise ModelError(f"{path} is not a list of modules, each with a type and a path; restore the file")
    if all(_class_name(entry) not in (STATIC, "") for entry in modules):
        raise ModelError(
            f"{folder} is no static model: its module is {_shown(modules[0])}; it can serve as a "
            f"teacher instead (--start {folder})"
        )
    for position, entry in enumerate(modules):
        expected = NORMALIZE if position else STATIC
        if _class_name(entry) != expected or (position and not _is_plain_normalize(folder, entry)):
            raise ModelError(
                f"{folder}: module {position} is {_shown(entry)}, which statim does not run; "
                f"a static model has a {STATIC} and at most a {NORMALIZE} of the sentence embedding after it"
            )
    return modules


def module_folder(folder: Path, entry: dict[str, Any]) -> Path:
    """Where a module keeps its files.

    Raises:
        ModelError: The path leads out of the folder.
    """
    path = PurePosixPath(entry["path"].replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in entry["path"] or "\0" in entry["path"]:
        raise ModelError(
            f"{folder / 'modules.json'}: the path {entry['path'][:80]!r} leads out of the folder"
        )
    return folder / path


def read_settings(folder: Path, modules: list[dict[str, Any]], tokenizer_json: str) -> Settings:
    """The settings that give sentence-transformers' vectors.

    It counts unknown tokens, and applies silently a truncation that stands in tokenizer.json.

    Raises:
        ModelError: A file is malformed, or the truncation cuts texts at their beginning.
    """
    base_model, language = card.facts(folder)
    return Settings(
        normalize=len(modules) > 1,
        drop_unknown=False,
        max_tokens=_truncation(folder, tokenizer_json),
        prompts=_prompts(folder),
        language=language,
        base_model=base_model,
    )


def _truncation(folder: Path, tokenizer_json: str) -> int | None:
    truncation = json.loads(tokenizer_json).get("truncation")
    if truncation is None:
        return None
    length, direction, strategy = (truncation.get(key) for key in ("max_length", "direction", "strategy"))
    if direction == "Left":
        raise ModelError(
            f"{folder}: tokenizer.json cuts long texts at their beginning (truncation direction Left); "
            "statim cuts at the end only, so save the tokenizer with direction Right or without truncation"
        )
    if strategy == "OnlySecond" or not isinstance(length, int) or length < 1:
        raise ModelError(
            f"{folder}: tokenizer.json has the truncation {str(truncation)[:120]}, which cuts no single "
            "text; save the tokenizer without it"
        )
    return length


def _prompts(folder: Path) -> dict[str, str]:
    """The prompts by name. A prompt that sentence-transformers would put before every text is said aloud."""
    path = folder / "config_sentence_transformers.json"
    config = read_json(path) if path.exists() else {}
    prompts = config.get("prompts", {}) if isinstance(config, dict) else None
    default = config.get("default_prompt_name") if isinstance(config, dict) else None
    if (
        not isinstance(prompts, dict)
        or not all(text is None or isinstance(text, str) for text in prompts.values())
        or not (default is None or isinstance(default, str))
    ):
        raise ModelError(
            f"{path}: prompts must be text by name, and default_prompt_name one of the names; restore "
            "the file"
        )
    kept = {name: text for name, text in prompts.items() if text}
    if default in kept:
        warnings.warn(
            f"{folder} has a default prompt, {kept[default][:80]!r}, which sentence-transformers puts "
            "before every text; "
            "put it there yourself where encode() is to give the same vectors",
            stacklevel=2,
        )
    return kept


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("type"), str) and isinstance(entry.get("path"), str)
    )


def _class_name(entry: dict[str, Any]) -> str:
    return str(entry["type"].rpartition(".")[2])


def _shown(entry: dict[str, Any]) -> str:
    return str(_class_name(entry)[:60] or entry["type"][:60] or "nameless")


def _is_plain_normalize(folder: Path, entry: dict[str, Any]) -> bool:
    """Whether a Normalize works on the sentence embedding (it may have no folder: it needs no files)."""
    path = module_folder(folder, entry) / "config.json"
    if module_folder(folder, entry) == folder or not path.exists():
        return True
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelError(f"{path} does not hold a JSON object; restore the file")
    source = config.get("module_input_name", "sentence_embedding")
    return source == "sentence_embedding" and config.get("module_output_name") in (None, source)
