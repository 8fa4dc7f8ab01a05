"""Where jobs over shards run: in this process, one shard after the other, or on a Ray cluster."""

import contextlib
from collections.abc import Iterator, Sequence

from statim.model import StaticModel
from statim.scale.jobs import Job, Lost, R, Run, T


@contextlib.contextmanager
def runner(ray: str | None, model: StaticModel, threads: int | None) -> Iterator[Run]:
    """What runs jobs.

    Args:
        ray: ``None`` for this process; else a Ray cluster: ``local`` for one on this machine that ends with
            the block, ``auto`` for the one that runs here, or an address (``ray://host:10001``,
            ``host:6379``).
        model: What jobs are given.
        threads: Threads of a job; by default all here, and one on Ray.

    Raises:
        DependencyError: Ray is not installed.
        InputError: There is no cluster at the address, or it is of other versions.
    """
    if ray is not None:
        from statim.scale.cluster import connected

        with connected(ray, model, threads) as run:
            yield run
        return

    def here(job: Job[T, R], items: Sequence[T]) -> Iterator[tuple[T, R | Lost]]:
        for item in items:
            yield item, job(item, model, threads)

    yield here
