"""Recommender: items like these, from item texts, by a model that may be trained on baskets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.documents.texts import read_documents
from statim.data.files import columns
from statim.errors import InputError
from statim.model import StaticModel, as_model
from statim.progress import Progress
from statim.search.engines.exact import Exact
from statim.search.engines.protocol import check_k
from statim.tasks.recommend.baskets import Baskets, Positions
from statim.texts import ids as read_ids

POOL = 100  # candidates that diversity chooses from, at least
BLOCK = 1024  # people served together
ITEMS = 1 << 14  # items encoded together

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recommended:
    """One item: ``score`` is its cosine to the profile, with what popularity adds."""

    rank: int
    score: float
    id: str
    text: str


class Recommender:
    """A catalogue of n items and their vectors.

    Args:
        model: Makes the vectors: a model, or where one is; None takes the bundled ``"english"``.
        items: A file or table with ids and texts (see ``statim.data.documents.texts.read_documents``), or a
            mapping from ids to texts.
        id: The column of ids; guessed by default.
        text: The column of texts; likewise.
        title: A column whose text is put before the text; likewise.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Raises:
        DataError: The items cannot be read, or ids repeat.

    Examples:
        >>> shop = Recommender(model, {"a": "open a file", "b": "read a file", "c": "a network socket"})
        >>> [item.id for item in shop.recommend(["a"], k=1)]
        ['b']
    """

    def __init__(
        self,
        model: StaticModel | str | Path | None,
        items: Any,
        *,
        id: str | None = None,  # noqa: A002
        text: str | None = None,
        title: str | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        if isinstance(items, Mapping) and all(isinstance(value, str) for value in items.values()):
            items = {"id": list(items), "text": list(items.values())}
        ready = isinstance(items, pa.Table) and {"id", "text"} <= set(items.column_names)
        table = items if ready else read_documents(items, id=id, text=text, title=title)
        self.model = model = as_model(model)
        self.ids: pa.LargeStringArray = _column(table, "id")
        self.texts: pa.LargeStringArray = _column(table, "text")
        self.prior: Floats | None = None
        self._places: dict[str, int] | None = None
        self._engine = Exact(model.dim)
        with Progress("encode", total=len(self), unit="items", show=progress) as bar:
            for start in range(0, len(self), ITEMS):
                some = self.texts.slice(start, ITEMS)
                self._engine.add(model.encode(some, normalize=True, threads=threads))
                bar.advance(len(some))

    def with_model(self, model: StaticModel, *, threads: int | None = None) -> "Recommender":
        """The same catalogue by another model."""
        return Recommender(model, pa.table({"id": self.ids, "text": self.texts}), threads=threads)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Recommender({len(self):,} items, {self.model!r})"

    @property
    def vectors(self) -> Floats:
        """The items' vectors, (n, d) float32 of length 1 (or 0, where a text has no known token)."""
        return self._engine.vectors[:]

    def learn_popularity(self, baskets: Baskets) -> "Recommender":
        """Count each item's baskets: ``prior`` is log(1 + count), 1 for the most popular; returns itself."""
        counts = np.log1p(np.bincount(baskets.items, minlength=len(self)))
        self.prior = (counts / max(float(counts.max(initial=0.0)), 1e-12)).astype(np.float32)
        return self

    def profile(self, liked: Iterable[str] | Mapping[str, float]) -> Floats:
        """A person as the mean of the vectors of what they took, (d,) float32 of length 1.

        Args:
            liked: Ids, or ids with weights above 0 (ratings, counts).

        Raises:
            InputError: There are none, an item is not in the catalogue, or a weight is no number above 0.
        """
        given = self._basket(liked)
        profile: Floats = self._profiles(given)[0]
        return profile

    def recommend(
        self,
        liked: Iterable[str] | Mapping[str, float],
        k: int = 10,
        *,
        exclude: Iterable[str] = (),
        diversity: float = 0.0,
        popularity: float = 0.0,
        threads: int | None = None,
    ) -> list[Recommended]:
        """The k items closest to a person's profile, without those that they took.

        Args:
            liked: See ``profile``.
            k: How many; fewer where the catalogue has no more.
            exclude: Ids that are not to be recommended either.
            diversity: From 0 (closest items) to below 1: how much an item's likeness to those already chosen
                counts against it (maximal marginal relevance, Carbonell and Goldstein, 1998; 1 - λ there).
            popularity: What is added to the cosine of the most popular item, see ``learn_popularity``; of the
                POOL closest and the POOL most popular items those of the highest sums are taken.
            threads: Threads to use.

        Raises:
            InputError: An item is not in the catalogue, or an argument is out of range.
        """
        ((scores, places),) = self.recommend_many(
            self._basket(liked),
            k,
            exclude=exclude,
            diversity=diversity,
            popularity=popularity,
            threads=threads,
        )
        rows = zip(scores[0].tolist(), places[0].tolist(), strict=True)
        return [
            Recommended(rank, score, self.ids[place].as_py(), self.texts[place].as_py())
            for rank, (score, place) in enumerate(rows, 1)
            if place >= 0
        ]

    def recommend_many(
        self,
        baskets: Baskets,
        k: int = 10,
        *,
        exclude: Iterable[str] = (),
        diversity: float = 0.0,
        popularity: float = 0.0,
        threads: int | None = None,
    ) -> Iterator[tuple[Floats, Positions]]:
        """As ``recommend``, for the owners of baskets, a block of them at a time.

        Yields:
            Scores and the items' positions, (m, k) of the next m baskets; -inf and -1 where there are no
            more.

        Raises:
            InputError: As for ``recommend``.
        """
        k = check_k(k)
        if not 0 <= diversity < 1:
            raise InputError(f"diversity is {diversity!r}; it must be at least 0 and below 1")
        if not 0 <= popularity < np.inf or (popularity and self.prior is None):
            raise InputError(
                f"popularity is {popularity!r}; it must be 0, or with baskets to count in "
                "(learn_popularity) a number above"
            )
        never = self.positions(exclude)
        pool = k if diversity == 0 and popularity == 0 else max(POOL, 5 * k)
        for start in range(0, len(baskets), BLOCK):
            some = baskets.select(np.arange(start, min(start + BLOCK, len(baskets))))
            most = int(np.diff(some.offsets).max()) + len(never)
            profiles = self._profiles(some)
            scores, places = self._engine.search(profiles, min(len(self), pool + most), threads=threads)
            if popularity:
                scores, places = self._with_popular(profiles, places, pool + most, popularity)
            out_scores = np.full((len(some), k), -np.inf, np.float32)
            out_places = np.full((len(some), k), -1, np.int64)
            for row in range(len(some)):
                taken = some.items[some.offsets[row] : some.offsets[row + 1]]
                left = (places[row] >= 0) & ~np.isin(places[row], taken) & ~np.isin(places[row], never)
                kept, near = places[row][left][:pool], scores[row][left][:pool]
                chosen = np.arange(min(k, len(kept)))
                if diversity:
                    chosen = marginal_relevance(near, self.vectors[kept], k, diversity)
                out_scores[row, : len(chosen)], out_places[row, : len(chosen)] = near[chosen], kept[chosen]
            yield out_scores, out_places

    def positions(self, ids: Iterable[str]) -> Positions:
        """Where items stand in the catalogue.

        Raises:
            InputError: One is not there.
        """
        if isinstance(ids, str):
            raise InputError(f"{ids!r} is one id; give a list of ids")
        listed = read_ids(ids.keys() if isinstance(ids, Mapping) else ids)
        if self._places is None:
            self._places = {name: place for place, name in enumerate(self.ids.to_pylist())}
        found = []
        for name in listed:
            if name not in self._places:
                raise InputError(
                    f"the item {name!r} is not in the catalogue; give ids like "
                    f"{self.ids[0].as_py()!r}, of which it has {len(self):,}"
                )
            found.append(self._places[name])
        return np.array(found, np.int64)

    def _with_popular(
        self, profiles: Floats, places: Positions, count: int, popularity: float
    ) -> tuple[Floats, Positions]:
        """Candidates ``places`` (m, c) and popular items, by cosine and popularity; -1 comes last."""
        assert self.prior is not None
        best = np.argsort(-self.prior, kind="stable")[:count]
        both = np.concatenate([places, np.broadcast_to(best, (len(places), len(best)))], axis=1)
        both.sort(axis=1)
        both[:, 1:][both[:, 1:] == both[:, :-1]] = -1
        scores = self._engine.score(profiles, both) + np.float32(popularity) * self.prior[both]
        scores[both < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(both, order, 1)

    def _basket(self, liked: Iterable[str] | Mapping[str, float]) -> Baskets:
        items = self.positions(liked)
        if len(items) == 0:
            raise InputError("no items are given that a person took; give at least one")
        weights = np.ones(len(items))
        if isinstance(liked, Mapping):
            for place, (name, weight) in enumerate(liked.items()):
                number = isinstance(weight, (int, float, np.number)) and np.isfinite(weight)
                if not number or weight <= 0:
                    raise InputError(f"the weight of {name!r} is {weight!r}; it must be a number above 0")
                weights[place] = weight
        return Baskets([""], np.array([0, len(items)]), items, weights)

    def _profiles(self, baskets: Baskets) -> Floats:
        """(b, d) float32, of length 1."""
        sums = np.zeros((len(baskets), self.model.dim))
        for row in range(len(baskets)):
            part = slice(baskets.offsets[row], baskets.offsets[row + 1])
            sums[row] = baskets.weights[part] @ self.vectors[baskets.items[part]]
        sizes = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(sizes > 0, sizes, 1)).astype(np.float32)


def marginal_relevance(relevance: Floats, vectors: Floats, k: int, diversity: float) -> npt.NDArray[np.int64]:
    """The order in which k of c candidates are chosen (Carbonell and Goldstein, 1998).

    Each time it is the one of the most (1 - diversity) x relevance - diversity x (largest cosine to one
    already chosen); of equals the first.

    Args:
        relevance: (c,) cosines to the profile.
        vectors: (c, d) of length 1.
        k: How many; at most c are.
        diversity: From 0 to 1.
    """
    count = min(k, len(relevance))
    chosen = np.empty(count, np.int64)
    likeness = np.zeros(len(relevance), np.float32)  # before the first there is nothing to be like
    left = np.ones(len(relevance), np.bool_)
    for place in range(count):
        worth = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        best = int(worth.argmax())
        chosen[place], left[best] = best, False
        near = vectors @ vectors[best]
        likeness = near if place == 0 else np.maximum(likeness, near)
    return chosen


def _column(table: pa.Table, name: str) -> pa.LargeStringArray:
    return columns.texts(table, name, "the items", any_type=True)
