"""Batches made on the device: everything about the next few steps that does not depend on the table.

All steps of a block are planned together: one sort of their entries, a handful of calls, three looks at
sizes. So each step knows its shapes beforehand, and nothing in it waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from statim.kernels.training.dropout import FIRST, SECOND, STEP
from statim.training.datasets.bags import TrainingSet, threshold

# entries of a row that are summed in one go; a frequent row has several such parts, summed in their order
CHUNK = 64
ENTRIES = 1 << 23  # planned together at most, about: a plan takes some 100 bytes an entry


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's batch: B anchors, N unique candidates, their E entries, and the U rows that occur.

    Attributes:
        anchors: B.
        offsets: (B + N + 1,) int64, where each text's entries begin in ``entry_rows`` and ``shares``, anchors
            first.
        entry_rows: For each entry, text after text, the position of its row in ``rows``, int32.
        shares: Likewise, count / tokens of the text, float32.
        entries: The range of both that is this step's; they hold a whole block's.
        rows: (U,) int64, the rows that occur, ascending.
        row_offsets: (U + 1,) int64, where each row's entries begin in ``positions`` and ``row_shares``.
        positions: For each entry, row after row, the position of its text in the batch (ascending within a
            row), int32.
        row_shares: Likewise, count / tokens of the text.
        extra_rows: (X,) int64, positions in ``rows``: one for every CHUNK entries that a row has beyond its
            first CHUNK.
        extra_starts: (X,) int64, where each such part's entries begin.
        heavy: (H,) int64, positions in ``rows`` of those that have such parts.
        heavy_firsts: (H,) int64, where each one's parts begin in ``extra_rows``.
        heavy_parts: (H,) int64, how many each has.
        columns: (B,) int64, the column of each anchor's positive.
        masked_rows: (M,) int64, and
        masked_columns: (M,) int64: the candidates that are no negatives of an anchor, since they are known
            positives of it; ascending in rows.
    """

    anchors: int
    offsets: torch.Tensor
    entry_rows: torch.Tensor
    shares: torch.Tensor
    entries: slice
    rows: torch.Tensor
    row_offsets: torch.Tensor
    positions: torch.Tensor
    row_shares: torch.Tensor
    extra_rows: torch.Tensor
    extra_starts: torch.Tensor
    heavy: torch.Tensor
    heavy_firsts: torch.Tensor
    heavy_parts: torch.Tensor
    columns: torch.Tensor
    masked_rows: torch.Tensor
    masked_columns: torch.Tensor

    @property
    def texts(self) -> int:
        """B + N."""
        return len(self.offsets) - 1

    def tensors(self) -> list[torch.Tensor]:
        """All of them."""
        return [part for part in vars(self).values() if isinstance(part, torch.Tensor)]


class DeviceData:
    """A training set on a device.

    Args:
        data: The pairs.
        vocabulary: Rows of the table.
        device: Where to put them.
        dropout: Probability with which each entry of a text is left out for a step.
    """

    def __init__(
        self, data: TrainingSet, vocabulary: int, device: torch.device, dropout: float = 0.0
    ) -> None:
        bags = data.bags
        self.device, self.vocabulary, self.dropout = device, vocabulary, dropout
        self.texts = len(bags.totals)
        self._offsets = self._put(bags.offsets)
        self._ids = self._put(bags.ids)
        sizes = self._offsets.diff()
        totals = self._put(bags.totals).clamp(min=1).double().repeat_interleave(sizes)
        counts = self._put(bags.counts.astype(np.int32))
        self._shares = (counts * (1 / totals)).float()
        if dropout > 0:
            self._counts, self._totals = counts, self._put(bags.totals)
        self._anchors, self._candidates = self._put(data.anchors), self._put(data.candidates)
        self._known, self._known_offsets = self._put(data.known), self._put(data.known_offsets)
        self._mean_entries = 2 * len(bags.ids) / max(1, self.texts)

    def _put(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)  # a copy: what is memory-mapped is read-only

    def steps_at_once(self, batch: int) -> int:
        """How many steps of a number of pairs to plan together."""
        return max(1, min(64, int(ENTRIES / max(1.0, self._mean_entries * batch))))

    def plan(self, pairs: torch.Tensor, dropout_keys: Sequence[int] = ()) -> list[Batch]:
        """The batches of K steps.

        Args:
            pairs: (K, B) int64, which pairs each takes.
            dropout_keys: K numbers of 64 bits that decide what each leaves out, where there is dropout; see
                ``batches.dropout_key``.
        """
        K, B = pairs.shape
        steps = torch.arange(K, device=self.device)
        anchors = self._anchors[pairs].long()
        candidates = self._candidates[pairs].long()
        keys = steps[:, None, None] * self.texts + candidates
        unique = torch.unique(keys[candidates >= 0])
        columns_from = torch.searchsorted(unique, torch.arange(K + 1, device=self.device) * self.texts)
        columns = torch.searchsorted(unique, keys[:, :, 0].contiguous()) - columns_from[:-1, None]
        masked_rows, masked_columns, masked_from = self._masks(anchors, columns, unique, columns_from)

        # the texts of all steps: each step's anchors, then its columns
        column_steps = unique // self.texts
        texts = torch.empty(K * B + len(unique), dtype=torch.int64, device=self.device)
        texts_from = columns_from + B * torch.arange(K + 1, device=self.device)
        texts[texts_from[:-1, None] + torch.arange(B, device=self.device)] = anchors
        texts[torch.arange(len(unique), device=self.device) + B * (column_steps + 1)] = unique % self.texts
        text_steps = torch.repeat_interleave(steps, texts_from.diff(), output_size=len(texts))

        # their entries, text after text
        sizes = self._offsets[texts + 1] - self._offsets[texts]
        offsets = _starts(sizes)
        total = int(offsets[-1])
        owners = torch.repeat_interleave(
            torch.arange(len(texts), device=self.device), sizes, output_size=total
        )
        source = torch.arange(total, device=self.device) + (self._offsets[texts] - offsets[:-1])[owners]
        shares = self._shares[source]
        if self.dropout > 0:
            source, owners, shares, offsets = self._drop(source, owners, texts, text_steps, dropout_keys)
            total = len(source)

        # the same entries, row after row
        keys = text_steps[owners] * self.vocabulary + self._ids[source]
        if K * self.vocabulary < 1 << 31:
            keys = keys.int()  # half the passes of the sort
        keys, by_row = torch.sort(keys, stable=True)
        row_keys, row_of, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        row_keys = row_keys.long()
        rows_from = torch.searchsorted(row_keys, torch.arange(K + 1, device=self.device) * self.vocabulary)
        row_steps = row_keys // self.vocabulary
        entry_rows = torch.empty(total, dtype=torch.int32, device=self.device)
        entry_rows[by_row] = (row_of - rows_from[row_steps[row_of]]).int()
        positions = (owners - texts_from[text_steps[owners]])[by_row].int()
        row_offsets = _starts(counts)

        # the parts of frequent rows beyond the first
        extras = (counts - 1) // CHUNK
        extra_from = _starts(extras)
        found = int(extra_from[-1])
        extra_rows = torch.repeat_interleave(
            torch.arange(len(counts), device=self.device), extras, output_size=found
        )
        nth = torch.arange(found, device=self.device) - extra_from[extra_rows] + 1
        extra_starts = row_offsets[extra_rows] + CHUNK * nth
        heavy = torch.nonzero(extras).flatten()
        heavy_from = torch.searchsorted(heavy, rows_from)
        heavy_firsts = extra_from[heavy] - extra_from[rows_from[row_steps[heavy]]]
        cuts = torch.stack(
            [texts_from, rows_from, offsets[texts_from], extra_from[rows_from], heavy_from, masked_from]
        )
        text_cuts, row_cuts, entry_cuts, extra_cuts, heavy_cuts, masked_cuts = cuts.tolist()
        row_shares, heavy_parts, rows = shares[by_row], extras[heavy], row_keys % self.vocabulary
        heavy = heavy - rows_from[row_steps[heavy]]
        extra_rows = extra_rows - rows_from[row_steps[extra_rows]]

        def step(k: int) -> Batch:
            text, row, extra = (slice(cut[k], cut[k + 1]) for cut in (text_cuts, row_cuts, extra_cuts))
            some, masked = (slice(cut[k], cut[k + 1]) for cut in (heavy_cuts, masked_cuts))
            return Batch(
                anchors=B,
                offsets=offsets[text.start : text.stop + 1],
                entry_rows=entry_rows,
                shares=shares,
                entries=slice(entry_cuts[k], entry_cuts[k + 1]),
                rows=rows[row],
                row_offsets=row_offsets[row.start : row.stop + 1],
                positions=positions,
                row_shares=row_shares,
                extra_rows=extra_rows[extra],
                extra_starts=extra_starts[extra],
                heavy=heavy[some],
                heavy_firsts=heavy_firsts[some],
                heavy_parts=heavy_parts[some],
                columns=columns[k],
                masked_rows=masked_rows[masked],
                masked_columns=masked_columns[masked],
            )

        return [step(k) for k in range(K)]

    def _drop(
        self,
        source: torch.Tensor,
        owners: torch.Tensor,
        texts: torch.Tensor,
        text_steps: torch.Tensor,
        keys: Sequence[int],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Entries, texts, shares and offsets without what ``kernels.training.dropout`` drops."""
        signed = torch.tensor(np.array(keys, np.uint64).view(np.int64), device=self.device)
        kept = _hash(signed[text_steps[owners]], source) >= threshold(self.dropout)
        sizes = torch.zeros_like(texts).index_add_(0, owners, kept.long())
        kept |= (sizes == 0)[owners]  # a text that would lose everything loses nothing
        lost = torch.zeros_like(texts).index_add_(0, owners, self._counts[source].long() * ~kept)
        source, owners = source[kept], owners[kept]
        totals = (self._totals[texts] - lost).clamp(min=1).double()
        shares = (self._counts[source] * (1 / totals)[owners]).float()
        return source, owners, shares, _starts(torch.bincount(owners, minlength=len(texts)))

    def _masks(
        self, anchors: torch.Tensor, columns: torch.Tensor, unique: torch.Tensor, columns_from: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The columns that are other known positives of each anchor: rows, columns, and step offsets."""
        K, B = anchors.shape
        flat = anchors.flatten()
        sizes = self._known_offsets[flat + 1] - self._known_offsets[flat]
        starts = _starts(sizes)
        total = int(starts[-1])
        owners = torch.repeat_interleave(torch.arange(K * B, device=self.device), sizes, output_size=total)
        source = torch.arange(total, device=self.device) + (self._known_offsets[flat] - starts[:-1])[owners]
        steps = owners // B
        keys = steps * self.texts + self._known[source]
        places = torch.searchsorted(unique, keys).clamp(max=len(unique) - 1)
        found = places - columns_from[steps]
        kept = torch.nonzero((unique[places] == keys) & (found != columns.flatten()[owners])).flatten()
        rows = owners[kept]
        begins = torch.searchsorted(rows, torch.arange(K + 1, device=self.device) * B)
        return rows % B, found[kept], begins


def _hash(keys: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """The upper 32 bits of ``kernels.training.dropout``'s hash, in torch's int64.

    It multiplies and adds as unsigned numbers do, but shifts otherwise.
    """
    step, first, second = (value - (1 << 64) for value in (STEP, FIRST, SECOND))
    x = keys + entries * step
    x = (x ^ _shifted(x, 30)) * first
    x = (x ^ _shifted(x, 27)) * second
    return _shifted(x ^ _shifted(x, 31), 32)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _starts(sizes: torch.Tensor) -> torch.Tensor:
    """(n + 1,) where each of n things begins that stand one after the other."""
    starts = torch.zeros(len(sizes) + 1, dtype=torch.int64, device=sizes.device)
    torch.cumsum(sizes, 0, out=starts[1:])
    return starts
