"""statim's ids against those of tokenizers, and the smallest texts on which they differ."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nasty_strings import mended
from tokenizers import Tokenizer as Backend

from statim.tokenizer.tokenizer import Tokenizer

MOST_TRIALS = 600  # while shrinking
Some = TypeVar("Some", str, list[str])


def made(backend: Backend) -> Tokenizer:
    """A new Tokenizer, which remembers nothing; whether it may use nanotoken does not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Tokenizer(backend)


def expected(
    backend: Backend, texts: Sequence[str], max_tokens: int | None, max_characters: int | None
) -> list[list[int]]:
    cut = [mended(text[:max_characters]) for text in texts]
    return [
        encoding.ids[:max_tokens] for encoding in backend.encode_batch_fast(cut, add_special_tokens=False)
    ]


class Duel:
    """One tokenizer and its oracle.

    Args:
        name: For the report.
        backend: Without truncation and padding.
        seed: For the report.
    """

    def __init__(self, name: str, backend: Backend, seed: int) -> None:
        self.name, self.backend, self.seed = name, backend, seed
        self.tokenizer = made(backend)

    def check(
        self,
        texts: Sequence[str],
        oracle: list[list[int]] | None = None,
        *,
        max_tokens: int | None = None,
        max_characters: int | None = None,
        threads: int | None = 1,
    ) -> list[list[int]]:
        """The ids, after making sure that both sides agree on every text.

        Raises:
            AssertionError: They do not; the message holds the smallest texts found that show it.
        """
        limits = {"max_tokens": max_tokens, "max_characters": max_characters}
        if oracle is None:
            oracle = expected(self.backend, texts, **limits)
        found = [ids.tolist() for ids in self.tokenizer(list(texts), threads=threads, **limits)]
        if found == oracle:
            return oracle
        assert len(found) == len(oracle), (
            f"{self.name}: {len(found)} results for {len(oracle)} texts, {limits}"
        )
        at = next(at for at, (ids, right) in enumerate(zip(found, oracle, strict=True)) if ids != right)
        raise AssertionError(self._report(list(texts), at, found[at], oracle[at], threads, limits))

    def _report(
        self,
        texts: list[str],
        at: int,
        found: list[int],
        right: list[int],
        threads: int | None,
        limits: dict[str, Any],
    ) -> str:
        def differ(batch: list[str]) -> bool:
            ids = [ids.tolist() for ids in made(self.backend)(batch, threads=threads, **limits)]
            return ids != expected(self.backend, batch, **limits)

        here = f"{self.name}, seed {self.seed}, {limits}, threads={threads}: "
        if differ([texts[at]]):
            text = shrunk(texts[at], lambda text: differ([text]))
            ids = made(self.backend)([text], threads=threads, **limits).ids.tolist()
            [wanted] = expected(self.backend, [text], **limits)
            return (
                f"{here}{text!a} (shrunk)\n  statim     {self._tokens(ids)}\n  tokenizers "
                f"{self._tokens(wanted)}"
            )
        whole = f"{texts[at][:300]!a}\n  statim     {self._tokens(found)}\n  tokenizers {self._tokens(right)}"
        if differ(texts):
            batch = shrunk(texts, differ)
            return f"{here}only in a batch, {[text[:300] for text in batch]!a} (shrunk)\n{whole}"
        return f"{here}only after earlier batches, {whole}"

    def _tokens(self, ids: list[int]) -> str:
        shown = [f"{identifier}:{self.backend.id_to_token(identifier)!a}" for identifier in ids[:40]]
        return " ".join(shown) + (f" ... ({len(ids):,})" if len(ids) > 40 else "")


def shrunk(whole: Some, fails: Callable[[Some], bool]) -> Some:
    """``whole`` without all that can be left out, tried by halves, quarters and so on, while ``fails`` still
    holds.
    """
    trials = 0
    size = max(1, len(whole) // 2)
    while trials < MOST_TRIALS:
        before, at = len(whole), 0
        while at < len(whole) and trials < MOST_TRIALS:
            shorter = whole[:at] + whole[at + size :]
            trials += 1
            if fails(shorter):
                whole = shorter
            else:
                at += size
        if size == 1 and len(whole) == before:
            break
        size = max(1, size // 2)
    return whole
