"""Refuse options that contradict each other before long work; fill in what teachers decide."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from statim.data.pairs.pairs import PYTHON_DOCS
from statim.data.pairs_from_documents import check_kinds
from statim.errors import InputError
from statim.option import check_values
from statim.teacher.teacher import Teacher
from statim.training.datasets import per_set
from statim.training.device import distributed
from statim.training.device.fit import choose
from statim.training.hyperparameters import DISTIL_WEIGHT, TAUGHT
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.run.baselines import baselines_of
from statim.training.run.load import OWN, SENTENCES, is_word
from statim.vocabulary import check_rows

log = logging.getLogger("statim")


def check(options: TrainOptions) -> None:
    """Refuse nonsense before long work.

    Raises:
        InputError: An option is out of range, or needs another.
    """
    if options.out is None and (options.resume or options.checkpoint_every is not None):
        raise InputError("checkpoints are kept beside the output; name one (--out DIR)")
    if options.data is None and options.distil is None and not options.resume:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (or plain texts to distil)"
        )
    _check_teaching(options)
    if options.packages is not None and options.data not in (None, PYTHON_DOCS):
        raise InputError(
            "--packages chooses what python-docs reads; give it with the source python-docs alone"
        )
    if options.make_pairs is not None:
        check_kinds(options.make_pairs)
    baselines_of(options.baselines)
    check_rows(options.grow_words or 0, options.grow_pairs or 0)
    check_values(options)
    choose(options.device or "auto")
    levels, dim = options.matryoshka, options.dim
    widest = dim if dim is not None or not levels else max(*levels, 1)
    per_set.check(options.set_weights, options.set_limits)
    freeze = options.freeze
    if isinstance(freeze, str) or not all(isinstance(token, str) for token in freeze or []):
        raise InputError(f"freeze is {freeze!r:.60}; give a list of tokens")
    # as of a start with a table: the usual rate is then the lower one
    Recipe.of(replace(options, dim=widest), 1000, 256)


def _check_teaching(options: TrainOptions) -> None:
    """Refuse what cannot be learned from a teacher."""
    _check_words(options.distil)
    if options.data is None and is_word(options.distil, OWN, SENTENCES):
        raise InputError(f"distil is {options.distil!r}, and no pairs were given; name a file of plain texts")
    if options.data is None and options.distil is not None and options.loss not in (None, "distillation"):
        raise InputError(
            f"the loss {options.loss} needs pairs beside the texts to distil; give some, or leave it out"
        )
    beside = options.data is not None and (options.distil is not None or options.documents_by is not None)
    if options.distil_weight is not None and not beside and not options.resume:
        raise InputError(
            "a weight of distillation is given, which needs both pairs and texts to distil (--distil "
            "FILE or --distil pairs)"
        )
    if options.distil_epochs and not beside and not options.resume:
        raise InputError(
            "epochs of distillation before the pairs are given, which need both pairs and texts to "
            "distil (--distil FILE or --distil "
            "sentences); epochs over texts alone are --epochs"
        )
    learns = options.distil is not None or options.documents_by is not None or options.loss in TAUGHT
    if learns and (choose(options.device or "auto").type != "cpu" or distributed.is_distributed()):
        raise InputError(
            "distillation cannot be trained on a GPU or by several processes; give --device cpu and "
            "start one process"
        )
    if options.documents_by is not None and (
        options.loss not in (None, "contrastive", "distillation") or options.matryoshka
    ):
        what = "Matryoshka levels" if options.matryoshka else f"the loss {options.loss}"
        raise InputError(
            f"{what} cannot be trained against a teacher's documents (documents_by), only the whole "
            "vectors and the loss contrastive"
        )


def _check_words(distil: object) -> None:
    """The words for the pairs' own texts stand alone, and a file of such a name is not meant by them."""
    several = (
        [word for word in distil if is_word(word, OWN, SENTENCES)]
        if isinstance(distil, (list, tuple))
        else []
    )
    if several:
        raise InputError(
            f"distil is {several[0]!r} and more; that word, for the pairs' own texts, must be alone, "
            "and a file of that name is "
            f"./{several[0]}"
        )
    if is_word(distil, OWN, SENTENCES) and Path(str(distil)).exists():
        log.warning(
            "--distil %s takes the pairs' own texts; to read the file of that name, write ./%s",
            distil,
            distil,
        )


def taught_by(
    options: TrainOptions, start_dim: int | None, teachers: Sequence[Teacher]
) -> tuple[TrainOptions, bool]:
    """The options with what the teachers decide, and whether documents are a teacher's (``asymmetric``).

    Raises:
        InputError: More dimensions are asked for than the teachers have.
    """
    learns = options.distil is not None or options.documents_by is not None or options.loss == "distillation"
    if not teachers or not learns:
        return options, False
    fixed, dims = options.documents_by is not None, [teacher.dim for teacher in teachers]
    most, usual = sum(dims), max(dims)
    wanted = options.dim or (usual if fixed else min(start_dim or usual, usual))
    if wanted > most or (fixed and wanted != most):
        names = " and ".join(teacher.name for teacher in teachers)
        raise InputError(
            f"dim is {wanted}, but "
            f"{f'the teacher {names} has' if len(dims) == 1 else f'the teachers {names} have'} "
            f"{most} dimensions; give "
            + (f"{most}, as its documents have," if fixed else f"at most {most},")
            + " or leave it out"
        )
    mixes = options.data is not None and options.loss != "distillation"
    weight = (DISTIL_WEIGHT if options.distil_weight is None else options.distil_weight) if mixes else None
    levels = [wanted] if fixed else options.matryoshka
    return replace(options, dim=wanted, matryoshka=levels, distil_weight=weight), fixed
