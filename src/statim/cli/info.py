"""statim info: what a model is."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import model_first, options

if TYPE_CHECKING:
    from statim.settings import SearchSettings


def info(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]", help=model_first.COUNTED)
    ] = None,
    model: model_first.Option = None,
    json: options.Json = False,
) -> None:
    """What a model is: size, tokenizer, settings."""
    model, _ = model_first.split_arguments(arguments or [], model)
    from statim.model import StaticModel

    loaded = StaticModel.load(model)
    settings = loaded.settings
    found: dict[str, Any] = {
        "model": model,
        "tokens": loaded.tokenizer.vocabulary_size,
        "dimensions": loaded.dim,
        "table": loaded.dtype,
        "table_bytes": loaded.nbytes,
        "tokenizer": loaded.tokenizer.kind,
        "fast_tokenizer": loaded.tokenizer.is_fast,
        "word_pairs": loaded.tokenizer.phrases,
        "accents": "stripped" if loaded.tokenizer.strips_accents else "kept",
        "normalize": settings.normalize,
        "max_tokens": settings.max_tokens,
        "unknown_tokens": "dropped" if settings.drop_unknown else "counted",
        "prompts": dict(settings.prompts),
        "base_model": settings.base_model,
        "search": None if settings.search is None else dataclasses.asdict(settings.search),
    }
    shown = found | {
        "table_bytes": options.size(found["table_bytes"]),
        "fast_tokenizer": "yes" if loaded.tokenizer.is_fast else "no",
        "normalize": "yes (vectors have length 1)" if settings.normalize else "no",
        "max_tokens": settings.max_tokens or "none (texts are never cut)",
        "prompts": ", ".join(f"{name}: {text!r}" for name, text in settings.prompts.items()) or "none",
        "base_model": settings.base_model or "none",
        "search": "not tuned (hybrid, weight 0.5)" if settings.search is None else _searched(settings.search),
    }
    options.result(
        found, "\n".join(f"{name.replace('_', ' '):16} {value}" for name, value in shown.items()), json
    )


def _searched(tuned: "SearchSettings") -> str:
    """How an index made with the model is searched, for a person."""
    reached = tuned.thresholds.get(tuned.mode, {}).get("95")
    said = "" if reached is None else f"; 95 % of the right answers score {reached:.3f} or more"
    return f"{tuned.mode}, weight of the vectors {tuned.weight:g}{said}"
