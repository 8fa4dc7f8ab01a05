"""What a training was asked for: nonsense is refused before long work, and what was left out is filled in."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from statim.data.pairs.pairs import PYTHON_DOCS
from statim.data.pairs_from_documents import check_kinds
from statim.errors import InputError
from statim.teacher import Teacher
from statim.training import distributed, per_set
from statim.training.device.fit import choose
from statim.training.material import OWN, SENTENCES, is_word
from statim.training.recipe import PRESETS, TAUGHT, Recipe
from statim.vocabulary import check_rows

log = logging.getLogger("statim")

KEEPS = ("last", "best")
DISTIL_WEIGHT = 20.0  # of a loss that is a mean over levels, beside one that is a sum of cosines times 20


def preset(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset that are not ``given``.

    Raises:
        InputError: There is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"recipe is {name!r}; it must be {', '.join(PRESETS)}, or left out")
    return {option: value for option, value in PRESETS[name].items() if given[option] is None}


def check(asked: SimpleNamespace) -> None:
    """Refuse nonsense before long work.

    Raises:
        InputError: An option is out of range, or needs another.
    """
    if asked.out is None and (asked.resume or asked.checkpoint_every is not None):
        raise InputError("checkpoints stand beside the output; name one (--out DIR)")
    if asked.data is None and asked.distil is None and not asked.resume:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (or plain texts to distil)"
        )
    _check_lessons(asked)
    if asked.packages is not None and asked.data not in (None, PYTHON_DOCS):
        raise InputError(
            "--packages chooses what python-docs reads; give it with the source python-docs alone"
        )
    if asked.make_pairs is not None:
        check_kinds(asked.make_pairs)
    check_rows(asked.grow_words or 0, asked.grow_pairs or 0)
    counts = {"checkpoint-every": 1, "evaluate-every": 1, "patience": 1, "keep-checkpoints": 0}
    for name, least in counts.items():
        value = getattr(asked, name.replace("-", "_"))
        if value is not None and (not isinstance(value, int) or value < least):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if asked.keep not in (None, *KEEPS):
        raise InputError(f"keep is {asked.keep!r}; it must be one of {', '.join(KEEPS)}")
    choose(asked.device or "auto")
    levels, dim = asked.matryoshka, asked.dim
    widest = dim if dim is not None or not levels else max(*levels, 1)
    per_set.check(asked.set_weights, asked.set_limits)
    if isinstance(asked.freeze, str) or not all(isinstance(token, str) for token in asked.freeze or []):
        raise InputError(f"freeze is {asked.freeze!r:.60}; give a list of tokens")
    recipe_of(
        asked, 1000, 256, dim=widest
    )  # as of a start with a table: the usual rate is then the lower one


def _check_lessons(asked: SimpleNamespace) -> None:
    """Refuse what cannot be learned from a teacher."""
    _check_words(asked.distil)
    if asked.data is None and is_word(asked.distil, OWN, SENTENCES):
        raise InputError(f"distil is {asked.distil!r}, and no pairs were given; name a file of plain texts")
    if asked.data is None and asked.distil is not None and asked.loss not in (None, "distillation"):
        raise InputError(
            f"the loss {asked.loss} needs pairs beside the texts to distil; give some, or leave it out"
        )
    beside = asked.data is not None and (asked.distil is not None or asked.documents_by is not None)
    if asked.distil_weight is not None and not beside and not asked.resume:
        raise InputError(
            "a weight of distillation is given, which needs both pairs and texts to distil (--distil FILE or --distil pairs)"
        )
    if asked.distil_epochs and not beside and not asked.resume:
        raise InputError(
            "epochs of distillation before the pairs are given, which need both pairs and texts to distil (--distil FILE or --distil "
            "sentences); epochs over texts alone are --epochs"
        )
    learns = asked.distil is not None or asked.documents_by is not None or asked.loss in TAUGHT
    if learns and (choose(asked.device or "auto").type != "cpu" or distributed.is_distributed()):
        raise InputError(
            "distillation cannot be trained on a GPU or by several processes; give --device cpu and start one process"
        )
    if asked.documents_by is not None and (
        asked.loss not in (None, "contrastive", "distillation") or asked.matryoshka
    ):
        what = "Matryoshka levels" if asked.matryoshka else f"the loss {asked.loss}"
        raise InputError(
            f"{what} cannot be trained against a teacher's documents (documents_by), only the whole vectors and the loss contrastive"
        )


def _check_words(distil: Any) -> None:
    """The words for the pairs' own texts stand alone, and a file of such a name is not meant by them."""
    several = (
        [word for word in distil if is_word(word, OWN, SENTENCES)]
        if isinstance(distil, (list, tuple))
        else []
    )
    if several:
        raise InputError(
            f"distil is {several[0]!r} and more; that word, for the pairs' own texts, stands alone, and a file of that name is "
            f"./{several[0]}"
        )
    if is_word(distil, OWN, SENTENCES) and Path(distil).exists():
        log.warning(
            "--distil %s takes the pairs' own texts; to read the file of that name, write ./%s",
            distil,
            distil,
        )


def recipe_of(asked: SimpleNamespace, pairs: int, start_dim: int | None, **given: Any) -> Recipe:
    """The recipe for so many pairs and a start of so many dimensions; ``given`` overrides what was asked for."""
    names = (
        "dim", "batch", "epochs", "learning_rate", "schedule", "warmup", "scale", "both_directions", "precision", "seed",
        "loss", "weights", "triplet_margin", "mix", "false_negative_margin", "weight_decay", "token_dropout", "new_rows_rate",
        "clip", "row_wise", "hard_negatives", "mine_every", "distil_weight", "distil_epochs",
        "length_power",
    )  # fmt: skip
    options = {name: getattr(asked, name) for name in names} | {"levels": asked.matryoshka}
    return Recipe.make(pairs, start_dim, **options | given)


def taught_by(asked: SimpleNamespace, start_dim: int | None, teachers: Sequence[Teacher]) -> dict[str, Any]:
    """What the teachers decide of the recipe.

    Raises:
        InputError: More dimensions are asked for than the teachers have.
    """
    if not teachers or (asked.distil is None and asked.documents_by is None and asked.loss != "distillation"):
        return {}
    fixed, dims = asked.documents_by is not None, [teacher.dim for teacher in teachers]
    most, usual = sum(dims), max(dims)
    wanted = asked.dim or (usual if fixed else min(start_dim or usual, usual))
    if wanted > most or (fixed and wanted != most):
        names = " and ".join(teacher.name for teacher in teachers)
        raise InputError(
            f"dim is {wanted}, but {f'the teacher {names} has' if len(dims) == 1 else f'the teachers {names} have'} {most} dimensions; give "
            + (f"{most}, as its documents have," if fixed else f"at most {most},")
            + " or leave it out"
        )
    mixes = asked.data is not None and asked.loss != "distillation"
    weight = (DISTIL_WEIGHT if asked.distil_weight is None else asked.distil_weight) if mixes else None
    levels = [wanted] if fixed else asked.matryoshka
    return {"dim": wanted, "levels": levels, "distil_weight": weight, "asymmetric": fixed or None}
