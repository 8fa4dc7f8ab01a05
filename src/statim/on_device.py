"""Encoding on a torch device: threads tokenize ahead while the device pools."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import InputError
from statim.model import StaticModel
from statim.progress import Progress
from statim.texts import Texts
from statim.tokenizer.tokens import Tokens

if TYPE_CHECKING:
    import torch

CHUNK = 8192  # texts pooled at a time
UNDER_WAY = 3  # chunks whose vectors are on their way back


class OnDevice:
    """A static model whose table lies on a device.

    Args:
        model: The model.
        device: As torch names it, like ``cuda`` or ``cuda:1``.

    Raises:
        InputError: torch cannot use that device here.
    """

    def __init__(self, model: StaticModel, device: str = "cuda") -> None:
        import torch

        self.model = model
        try:
            self.device = torch.device(device)
            self._table = torch.from_numpy(np.array(model.table)).to(self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).split("\n")[0][:200]
            raise InputError(f"device is {device!r}, which torch cannot use here: {reason}") from None

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        dim: int | None = None,
        normalize: bool | None = None,
        threads: int | None = None,
        progress: bool = False,
        prompt: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """Turn texts into vectors: ``StaticModel.encode``, of the same arguments and errors, always float32.

        Returns:
            (n, dim), or (dim,) for one str; equal to the processor's but for rounding.
        """
        given = Texts.of(texts)
        dim = self.model.dim if dim is None else dim
        if not 1 <= dim <= self.model.dim:
            raise InputError(f"dim is {dim!r}; this model has vectors of 1 to {self.model.dim} dimensions")
        normalize = self.model.settings.normalize if normalize is None else normalize
        workers = pool.count(threads)
        blocks: list[npt.NDArray[np.float32]] = []
        waiting: deque[Any] = deque()

        def tokenize(item: tuple[int, list[str]]) -> Tokens:
            position, chunk = item
            if prompt:
                chunk = [prompt + text if isinstance(text, str) else text for text in chunk]
            settings = self.model.settings
            return self.model.tokenizer.chunk(
                chunk, max_tokens=settings.max_tokens, max_characters=settings.max_characters,
                position=position,
                threads=workers,
            )  # fmt: skip

        with Progress("encode", total=given.length, unit="texts", show=progress) as bar:
            for tokens in pool.stream(tokenize, given.chunks(CHUNK), workers):
                waiting.append(self.pool(tokens, dim, normalize))
                bar.advance(len(tokens))
                if len(waiting) > UNDER_WAY:
                    blocks.append(waiting.popleft().cpu().numpy())
            blocks += [block.cpu().numpy() for block in waiting]
        found = np.concatenate([np.zeros((0, dim), np.float32), *blocks])
        return found[0] if isinstance(texts, str) else found

    def pool(self, tokens: Tokens, dim: int, normalize: bool) -> "torch.Tensor":
        """The vectors of n texts already tokenized, (n, dim) float32, on the device."""
        import torch

        tokens.check(len(self._table))
        ids = torch.from_numpy(np.array(tokens.ids)).to(self.device, non_blocking=True).long()
        offsets = torch.from_numpy(np.array(tokens.offsets)).to(self.device, non_blocking=True)
        weights = torch.ones(len(ids), device=self.device)
        if self.model.settings.drop_unknown and self.model.tokenizer.unknown_id is not None:
            weights = (ids != self.model.tokenizer.unknown_id).float()
        ends = torch.cat([weights.new_zeros(1, dtype=torch.float64), weights.double().cumsum(0)])
        counts = ends[offsets].diff().float()
        sums = torch.nn.functional.embedding_bag(
            ids,
            self._table[:, :dim],
            offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )
        vectors = sums / counts.clamp(min=1)[:, None]
        if normalize:
            lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            vectors = vectors / torch.where(lengths > 0, lengths, 1.0)
        return vectors
