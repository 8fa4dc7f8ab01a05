"""What a run is, as its ``run.json`` says: enough to resume it from the folder's name alone.

It holds the ``options`` that ``train`` was called with, with absolute paths; the names of those that were
objects ``in_memory`` and must be given again; size and time of the ``files`` among them, to name one that
changed; the number of ``threads``; what was ``found`` as soon as it is known (hashes of the pairs and the
start, the recipe, the steps between evaluations); and the ``rates`` that were changed, [step, peak rate from
there on].
"""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from statim.errors import InputError, ModelError
from statim.training.options import TrainOptions, values_of, with_values
from statim.training.recipe import Recipe

PATHS = (
    "data", "start", "tokenizer", "heldout", "development", "tensorboard", "distil", "teacher",
    "documents_by",
)  # fmt: skip
NAMES = ("python-docs", "random", "pairs", "sentences")  # that are no paths, whatever lies in the folder
KINDS = {"options": dict, "in_memory": list, "files": dict, "threads": int, "rates": list}
FREE = ("out", "resume", "progress")  # of this process alone
# What may change when a run is resumed; all but the learning rate leave the table as it would have been
CHANGEABLE = (
    "learning_rate", "threads", "checkpoint_every", "keep_checkpoints", "tensorboard", "baselines",
)  # fmt: skip

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True)
class Found:
    """What a run found, and must find again when it is resumed.

    Attributes:
        recipe: The recipe.
        evaluate_every: Steps between evaluations.
        pairs: Hash of the data; empty where the run is not written down.
        start: Hash of the start; likewise.
        lessons: Hash of the teachers and of the plain texts; None where an older version did not write it.
        vocabulary: What became of the start's vocabulary, one of start.VOCABULARIES.
    """

    recipe: Recipe
    evaluate_every: int
    pairs: str = ""
    start: str = ""
    lessons: str | None = None
    vocabulary: str = "usual"

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Found":
        """What ``to_dict`` gave.

        Raises:
            ModelError: The recipe is damaged.
        """
        try:
            recipe = Recipe.from_dict(values["recipe"])
        except TypeError as error:
            raise ModelError(
                f"run.json of the interrupted training is damaged at its recipe ({error}); start it "
                "again without --resume"
            ) from None
        return Found(
            recipe, values["evaluate_every"], values["pairs"], values["start"], values.get("lessons"),
            values.get("vocabulary", "usual"),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        found: dict[str, Json] = {
            "recipe": self.recipe.to_dict(), "evaluate_every": self.evaluate_every, "pairs": self.pairs,
            "start": self.start, "vocabulary": self.vocabulary,
        }  # fmt: skip
        return found if self.lessons is None else found | {"lessons": self.lessons}


@dataclass(frozen=True)
class Run:
    """What ``run.json`` holds.

    Attributes:
        options: The options as plain values, but for those in memory.
        in_memory: The names of options that were objects.
        files: Size and time of each file among the options; None where it could not be read.
        threads: Threads.
        rates: (step, peak learning rate from there on), where it was changed.
        found: What was found, as soon as it is known.
        saving: Was the model about to be saved?
    """

    options: Mapping[str, Json]
    in_memory: Sequence[str]
    files: Mapping[str, str | None]
    threads: int
    rates: Sequence[tuple[int, float]] = ()
    found: Found | None = None
    saving: bool = False

    @staticmethod
    def begun(options: TrainOptions, threads: int) -> "Run":
        """The record of a new run."""
        plain: dict[str, Json] = {}
        in_memory = []
        for name, value in values_of(options).items():
            if name in FREE:
                continue
            try:
                plain[name] = _plain(name, value)
            except TypeError:
                in_memory.append(name)
        files = {str(path): _stamp(path) for path in _files(plain)}
        return Run(plain, in_memory, files, threads)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Run":
        """What ``to_dict`` gave.

        Raises:
            ModelError: The record is damaged.
        """
        wrong = [name for name, kind in KINDS.items() if type(values.get(name)) is not kind]
        found = values.get("found", {})
        if wrong or not _whole(found, values["rates"]):
            raise ModelError(
                f"run.json of the interrupted training is damaged at {', '.join(wrong) or 'found or rates'}; "
                "start it again without --resume"
            )
        rates = tuple((step, rate) for step, rate in values["rates"])
        named = {name: values[name] for name in ("options", "in_memory", "files", "threads")}
        known = Found.from_dict(found) if found else None
        return Run(**named, rates=rates, found=known, saving=values.get("saving", False))

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        values: dict[str, Json] = {
            "options": dict(self.options), "in_memory": list(self.in_memory), "files": dict(self.files),
            "threads": self.threads, "rates": [list(rate) for rate in self.rates],
        }  # fmt: skip
        if self.found is not None:
            values["found"] = self.found.to_dict()
        return values | ({"saving": True} if self.saving else {})

    def resumed(self, given: TrainOptions) -> TrainOptions:
        """The options to resume with: those of the run, and what this process is given beyond.

        Raises:
            InputError: An option differs from the run's, or an object that was in memory is not given again.
        """
        values = values_of(given)
        options: dict[str, object] = {}
        for name, now in values.items():
            if name in FREE or name in self.in_memory:
                continue
            before = self.options.get(name)
            if name == "overwrite":
                options[name] = bool(now or before)
            elif name == "learning_rate" and self.found is not None:
                options[name] = now  # a change; the recipe holds the old one
            elif name in CHANGEABLE:
                options[name] = before if now is None else now
            elif now is None:
                options[name] = before
            elif not _same(name, now, before):
                raise InputError(
                    f"{name} is {now!r}, but the interrupted training began with {before!r}; leave it "
                    "out, or start again"
                )
        for name in self.in_memory:
            if values.get(name) is None:
                raise InputError(
                    f"{name} of the interrupted training was an object in memory; give the same again, "
                    "or start again"
                )
        return with_values(given, options)

    def changed(self) -> str:
        """Which files are no longer those the run began with, for a message."""
        names = [name for name, stamp in self.files.items() if _stamp(Path(name)) != stamp]
        return f" ({', '.join(names)} changed)" if names else ""

    def with_rate(self, rate: float | None, step: int) -> "Run":
        """The run with another peak learning rate after ``step``; the same run where it is no other."""
        assert self.found is not None
        before = self.rates[-1][1] if self.rates else self.found.recipe.learning_rate
        if rate is None or rate == before:
            return self
        return dataclasses.replace(self, rates=(*self.rates, (step, rate)))


def _whole(found: Any, rates: Sequence[Any]) -> bool:
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


def _plain(name: str, value: object) -> Json:
    """An option for JSON.

    Raises:
        TypeError: It is an object that JSON does not know, or data in memory.
    """
    if isinstance(value, (list, tuple)):
        return [_one(name, item) for item in value]
    if isinstance(value, Mapping):
        keys = {
            key: _one(name, key) if name == "teacher" else key for key in value
        }  # of others, names of sets
        return {str(keys[key]): _one(name, item) for key, item in value.items()}
    return _one(name, value)


def _one(name: str, value: object) -> Json:
    if isinstance(value, np.generic):
        value = value.item()
    if name in PATHS and isinstance(value, (str, Path)) and value not in NAMES:
        is_path = isinstance(value, Path) or Path(value).exists() or name == "tensorboard"
        return str(Path(value).absolute() if is_path else value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError


def _same(name: str, now: object, before: Json) -> bool:
    try:
        return bool(_plain(name, now) == before)
    except TypeError:
        return False


def _files(options: Mapping[str, Json]) -> Iterator[Path]:
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
