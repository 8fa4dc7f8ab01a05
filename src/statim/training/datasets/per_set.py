"""What is given for single data sets, by their names: weights and limits."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statim.data.detect_task import Supervision
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError
from statim.training.recipe import check_limit, check_weight

log = logging.getLogger("statim")


def check(weights: Mapping[str, Any] | None, limits: Mapping[str, Any] | None) -> None:
    """Refuse what is no weight or limit, before anything is read.

    Raises:
        InputError: One is out of range.
    """
    for name, weight in (weights or {}).items():
        check_weight(name, weight)
    for name, limit in (limits or {}).items():
        check_limit(name, limit)


def weights_of(pairs: Supervision, given: Mapping[str, float]) -> tuple[float, ...]:
    """The weight of each set; none where all weigh the same as one.

    Raises:
        InputError: A weight is given for a set that is not there.
    """
    names = _names(pairs, given, "weight", "weighed")
    found = tuple(float(given.get(name, 1)) for name in names)
    return found if any(weight != 1 for weight in found) else ()


def limits_of(pairs: Supervision, given: Mapping[str, int]) -> tuple[int, ...]:
    """How many pairs of each set may be used, 0 for all; none where no set has a limit.

    Raises:
        InputError: A limit is given for a set that is not there.
    """
    found = tuple(int(given.get(name, 0)) for name in _names(pairs, given, "limit", "limited"))
    return found if any(found) else ()


def limited(pairs: Supervision, limits: Sequence[int], seed: int) -> Supervision:
    """So many pairs of each set at random, in their order.

    What is taken of a set follows from its own pairs and the seed alone; a higher limit takes the same and
    more.

    Args:
        pairs: Of several sets.
        limits: From ``limits_of``.
        seed: Of the draw.
    """
    if not limits or not isinstance(pairs, Pairs):
        return pairs
    kept = np.ones(len(pairs), bool)
    for place, limit in enumerate(limits):
        members = np.flatnonzero(pairs.sets == place)
        if 0 < limit < len(members):
            order = np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, 0, 1, 0]))
            kept[members[order.permutation(len(members))[limit:]]] = False
            log.info(
                "of the set %s %s of %s pairs are used", pairs.names[place], f"{limit:,}", f"{len(members):,}"
            )
    return pairs if kept.all() else pairs.select(np.flatnonzero(kept))


def _names(pairs: Supervision, given: Mapping[str, Any], what: str, done: str) -> tuple[str, ...]:
    """The names of the sets; all scored pairs or labelled texts are one without a name."""
    names = pairs.names if isinstance(pairs, Pairs) else ()
    for name in given:
        if name not in names:
            raise InputError(
                (
                    f"a {what} is given for the set {name!r}, which is not there; the sets are "
                    f"{', '.join(names[:50])}"
                )
                if names
                else f"a {what} is given for the set {name!r}, but only sets of pairs can be {done}; "
                "leave it out"
            )
    return names
