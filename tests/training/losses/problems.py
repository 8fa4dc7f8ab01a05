"""Anchors and candidates made up, and the contrastive loss by the plain formula."""

import numpy as np
import torch

from statim.training.datasets.batches import Targets


def autograd(anchors, candidates, targets, levels, weights, scale, both):
    """The plain formula in float64, every matrix spelled out."""
    a = torch.tensor(anchors, dtype=torch.float64, requires_grad=True)
    p = torch.tensor(candidates, dtype=torch.float64, requires_grad=True)
    B, N = len(a), len(p)
    masked = torch.zeros(B, N, dtype=torch.bool)
    for i in range(B):
        masked[i, targets.masked[targets.masked_offsets[i] : targets.masked_offsets[i + 1]]] = True
    columns = torch.tensor(targets.columns).long()
    positive = masked.clone()
    positive[torch.arange(B), columns] = True
    loss = torch.zeros((), dtype=torch.float64)
    for level, weight in zip(levels, weights, strict=True):
        unit_a = torch.nn.functional.normalize(a[:, :level], dim=1)
        unit_p = torch.nn.functional.normalize(p[:, :level], dim=1)
        logits = scale * unit_a @ unit_p.T
        term = torch.nn.functional.cross_entropy(logits.masked_fill(masked, -torch.inf), columns)
        if both:
            back = []
            for i in range(B):
                column = logits[:, columns[i]].masked_fill(positive[:, columns[i]], -torch.inf)
                own = logits[i, columns[i]]
                back.append(torch.logsumexp(torch.cat([column, own[None]]), 0) - own)
            term = (term + torch.stack(back).mean()) / 2
        loss = loss + weight * term
    loss.backward()
    return loss.item(), np.concatenate([a.grad.numpy(), p.grad.numpy()])


def random_problem(seed, B, N, d, dtype=np.float64):
    """Anchors, more candidates, shared positives, and masked known positives."""
    rng = np.random.default_rng(seed)
    anchors = rng.standard_normal((B, d)).astype(dtype)
    candidates = rng.standard_normal((N, d)).astype(dtype)
    columns = rng.integers(0, N, B).astype(np.int32)
    masked, offsets = [], [0]
    for i in range(B):
        chosen = rng.choice(N, min(N - 1, rng.integers(0, 4)), replace=False)
        masked += [j for j in chosen if j != columns[i]]
        offsets.append(len(masked))
    return anchors, candidates, Targets(columns, np.array(masked, np.int32), np.array(offsets, np.int64))
