"""Jobs on a Ray cluster.

The model goes into Ray's object store once and lies on each node in a folder of the cache, from which every
process there maps the same memory. A job whose process or node dies is done again by another.
"""

import contextlib
import functools
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from statim import __version__, cache
from statim import threads as pool
from statim.errors import DependencyError, InputError, ModelError
from statim.files import atomic_directory
from statim.model import StaticModel
from statim.scale.jobs import Job, Lost, R, Run, T

PATIENCE = 10.0  # seconds to wait for somebody to answer at an address
TRIES = 100  # of a job whose process dies
AHEAD = 4  # jobs under way for each processor of the cluster, so that none waits for the next
FEWEST = 64  # jobs under way at least: what waits tells a cluster that grows by itself to grow
REMEMBERED = 1 << 17  # words that nanotoken remembers on each thread
WHERE = "give local, auto, or the address of a cluster that runs (ray://host:10001, host:6379)"
PORTS = {"ray": 10001}


def _ray() -> Any:
    """The library, without reports of its use."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise DependencyError(
            'a Ray cluster needs the package ray; install it with: pip install "statim[scale]"'
        ) from None
    return ray


@contextlib.contextmanager
def connected(address: str, model: StaticModel, threads: int | None) -> Iterator[Run]:
    """What runs jobs on a cluster; see ``runners.runner``."""
    ray = _ray()
    _check_answers(address)
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            # Ray says on the standard output that a worker died; there belongs the result alone
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            _connect(ray, address, threads)
            stack.callback(ray.shutdown)
        files = {name: ray.put(content) for name, content in _files(model).items()}
        yield functools.partial(_run, ray, _Model(model.hash, files), threads or 1)


def _connect(ray: Any, address: str, threads: int | None) -> None:
    """Begin or find a cluster.

    Raises:
        InputError: There is none.
    """
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        # a busy machine is no dead one, for which Ray would end this process
        os.environ.setdefault("RAY_health_check_timeout_ms", "60000")
        options |= {"num_cpus": max(pool.count(), threads or 1), "include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, **options)
    except (Exception, SystemExit) as error:  # of many kinds: a start that takes too long is a plain one
        said = " ".join(str(error).split())[:200]
        raise InputError(f"no Ray cluster can be used at {address!r} ({said}); {WHERE}") from None


def _check_answers(address: str) -> None:
    """Refuse an address at which nobody answers; Ray itself tries for minutes, and then ends the process."""
    if address in ("local", "auto"):
        return
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.partition("/")[0].rpartition(":")
    host, number = (host, port) if host else (port, str(PORTS.get(scheme, "")))
    if scheme not in ("", "ray") or not number.isdigit() or not host:
        raise InputError(f"{address!r} is no address of a Ray cluster; {WHERE}")
    try:
        socket.create_connection((host.strip("[]"), int(number)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster answers at {address!r} ({error}); {WHERE}") from None


def _run(
    ray: Any, model: "_Model", threads: int, job: Job[T, R], items: Sequence[T]
) -> Iterator[tuple[T, R | Lost]]:
    remote = ray.remote(num_cpus=threads, max_retries=TRIES)(_do)
    shared = ray.put((job, model, threads, _versions()))
    most = max(FEWEST, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
    waiting: dict[Any, T] = {}
    left = iter(items)
    try:
        while True:
            while len(waiting) < most and (item := next(left, None)) is not None:
                waiting[remote.remote(shared, item)] = item
            if not waiting:
                return
            for reference in ray.wait(list(waiting), num_returns=1)[0]:
                yield waiting.pop(reference), _result(ray, reference)
    finally:
        for reference in waiting:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    except (ray.exceptions.RayError, RuntimeError) as error:
        return Lost(f"its process died again and again ({' '.join(str(error).split())[:200]})")


def _versions() -> dict[str, str]:
    """What decides the bytes that a process writes."""
    found = {"statim": __version__}
    for name in ("numpy", "pyarrow", "tokenizers", "nanotoken"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _do(shared: tuple[Job[T, R], "_Model", int, Mapping[str, str]], item: T) -> R:
    """Do a job, on a node of the cluster."""
    job, model, threads, versions = shared
    if versions != _versions():
        other = {name: found for name, found in _versions().items() if versions.get(name) != found}
        raise InputError(
            f"a node of the cluster has {other}, and this process {dict(versions)}; install the same versions"
        )
    return job(item, model.load(), threads)


class _Model:
    """A model on its way to the nodes of a cluster: the bytes of its files in the object store."""

    def __init__(self, name: str, files: Mapping[str, Any]) -> None:
        self.name, self.files = name, files

    def load(self) -> StaticModel:
        """The model, memory-mapped."""
        return _loaded(self)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and other.name == self.name


@functools.lru_cache(maxsize=1)
def _loaded(model: _Model) -> StaticModel:
    import nanotoken
    import pyarrow as pa

    nanotoken.set_cache_entries(REMEMBERED)
    pa.set_memory_pool(pa.system_memory_pool())  # gives back what it frees
    place = cache.folder("models") / model.name
    if not place.exists():
        with (
            cache.writing(),
            contextlib.suppress(InputError),
        ):  # another process here has put it there meanwhile
            place.parent.mkdir(0o700, parents=True, exist_ok=True)
            with atomic_directory(place, wait=True) as folder:
                _unpack(model.files, folder)
    with contextlib.suppress(ModelError):
        found = StaticModel.load(place, verify="always")
        if found.hash == model.name:
            return found
    with tempfile.TemporaryDirectory() as folder:  # the cache cannot be used; what is mapped stays
        _unpack(model.files, Path(folder))
        return StaticModel.load(folder)


def _unpack(files: Mapping[str, Any], folder: Path) -> None:
    import ray

    for name, reference in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(memoryview(ray.get(reference)))


def _files(model: StaticModel) -> dict[str, Any]:
    """The bytes of a model's files, by name."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        root = Path(folder) / "model"
        return {
            path.relative_to(root).as_posix(): np.fromfile(path, np.uint8)
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
