"""What a run is, as its ``run.json`` says: enough to go on with it from the folder's name alone.

It holds the ``options`` that ``train`` was asked for, with whole paths; the names of those that were objects ``in_memory`` and must
be given again; size and time of the ``files`` among them, to name one that changed; the number of ``threads``; what was ``found``
as soon as it is known (hashes of the pairs and the start, the recipe, the spacing of evaluations); and the ``rates`` that were
changed, [step, peak rate from there on].
"""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import InputError, ModelError
from statim.training.recipe import Recipe

PATHS = (
    "data", "start", "tokenizer", "heldout", "development", "tensorboard", "distil", "teacher", "documents_by",
)  # fmt: skip
NAMES = ("python-docs", "random", "pairs", "sentences")  # that are no paths, whatever lies in the folder
KINDS = {"options": dict, "in_memory": list, "files": dict, "threads": int, "rates": list}
FREE = ("out", "resume", "progress")  # of this process alone
# What may be given anew when a run is gone on with; all but the rate leave the table as it would have been
CHANGEABLE = (
    "learning_rate", "threads", "checkpoint_every", "keep_checkpoints", "tensorboard", "baselines",
)  # fmt: skip


def begun(given: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """The record of a new run with the options ``given``, those of ``train``."""
    options, in_memory = {}, []
    for name, value in given.items():
        if name in FREE:
            continue
        try:
            options[name] = _plain(name, value)
        except TypeError:
            in_memory.append(name)
    files = {str(path): _stamp(path) for path in _files(options)}
    return {"options": options, "in_memory": in_memory, "files": files, "threads": threads, "rates": []}


def resumed(run: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options to go on with: those of the run, and what this process is given beyond.

    Raises:
        InputError: An option differs from the run's, or an object that was in memory is not given again.
        ModelError: The record is damaged.
    """
    wrong = [name for name, kind in KINDS.items() if type(run.get(name)) is not kind]
    if wrong or not _whole(run.get("found", {}), run["rates"]):
        raise ModelError(
            f"run.json of the interrupted training is damaged at {', '.join(wrong) or 'found or rates'}; "
            "start it again without --resume"
        )
    options = dict(given)
    for name in dict.fromkeys([*run["options"], *given]):
        if name in FREE or name in run["in_memory"]:
            continue
        before, now = run["options"].get(name), given.get(name)
        if name == "overwrite":
            options[name] = now or before
        elif name == "learning_rate" and "found" in run:
            options[name] = now  # a change; the old one stands in the recipe
        elif name in CHANGEABLE:
            options[name] = before if now is None else now
        elif now is None:
            options[name] = before
        elif not _same(name, now, before):
            raise InputError(
                f"{name} is {now!r}, but the interrupted training began with {before!r}; leave it out, or start anew"
            )
    for name in run["in_memory"]:
        if given.get(name) is None:
            raise InputError(
                f"{name} of the interrupted training was an object in memory; give the same again, or start anew"
            )
    return options


def _whole(found: Any, rates: list[Any]) -> bool:
    """Whether what was found, and the changes of the rate, have the form that they were written in."""
    kinds = {"recipe": dict, "evaluate_every": int, "pairs": str, "start": str}
    return (
        isinstance(found, dict)
        and (not found or all(type(found.get(name)) is kind for name, kind in kinds.items()))
        and all(
            isinstance(rate, list)
            and len(rate) == 2
            and all(isinstance(number, (int, float)) for number in rate)
            for rate in rates
        )
    )


def changed(run: Mapping[str, Any]) -> str:
    """Which files are no longer those the run began with, for a message."""
    names = [name for name, stamp in run["files"].items() if _stamp(Path(name)) != stamp]
    return f" ({', '.join(names)} changed)" if names else ""


def change_rate(run: dict[str, Any], recipe: Recipe, rate: float | None, step: int) -> bool:
    """Note that after ``step`` the peak rate is another, if it is; says whether."""
    before = run["rates"][-1][1] if run["rates"] else recipe.learning_rate
    changes = rate is not None and rate != before
    if changes:
        run["rates"].append([step, rate])
    return changes


def _plain(name: str, value: Any) -> Any:
    """An option for JSON.

    Raises:
        TypeError: It is an object that JSON does not know, or data in memory.
    """
    if isinstance(value, (list, tuple)):
        return [_one(name, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _one(name, item) for key, item in value.items()}
    return _one(name, value)


def _one(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if name in PATHS and isinstance(value, (str, Path)) and value not in NAMES:
        is_path = isinstance(value, Path) or Path(value).exists() or name == "tensorboard"
        return str(Path(value).absolute()) if is_path else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError


def _same(name: str, now: Any, before: Any) -> bool:
    try:
        return bool(_plain(name, now) == before)
    except TypeError:
        return False


def _files(options: Mapping[str, Any]) -> Iterator[Path]:
    for name in PATHS:
        value = options.get(name)
        several = list(value.values()) if isinstance(value, dict) else value
        for item in several if isinstance(several, list) else [several]:
            if isinstance(item, str) and Path(item).is_file():
                yield Path(item)


def _stamp(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_size:,} bytes of {datetime.datetime.fromtimestamp(found.st_mtime).isoformat()}"
