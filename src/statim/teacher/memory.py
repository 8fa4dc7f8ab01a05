"""What is remembered of teachers on disk: hashes of their files, and vectors of texts."""

import contextlib
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from statim import cache as caches
from statim.digests import check_seal, seal
from statim.errors import ModelError
from statim.files import hash_file, read_json, write_json
from statim.tensors import load_tensors, save_tensors

# nanoseconds since a file was written, after which its time would tell that it is written again
SETTLED = 5_000_000_000

Floats = npt.NDArray[np.float32]


def content_hash(folder: Path) -> str:
    """A hash of a teacher's weights, tokenizer and configuration.

    It is kept beside the teachers' vectors, under the files' places, sizes and times, since reading the
    weights takes a while.
    """
    seen, files, newest = hashlib.sha256(), [], 0
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json", ".txt", ".model") and path.is_file():
            about = path.stat()
            seen.update(
                f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ino}\0".encode(
                    "utf-8", "surrogateescape"
                )
            )
            newest = max(newest, about.st_mtime_ns)
            files.append(path)
    kept = caches.folder("teachers") / f"{seen.hexdigest()[:32]}.sha256"
    with contextlib.suppress(ModelError):  # it is not there, or damaged
        found = read_json(kept)
        if isinstance(found, dict) and isinstance(found.get("hash"), str):
            check_seal(found, kept, "delete it")
            return str(found["hash"])
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{hash_file(path)}\0".encode("utf-8", "surrogateescape"))
    if time.time_ns() - newest > SETTLED:
        with caches.writing():
            write_json(kept, seal({"hash": digest.hexdigest()}))
    return digest.hexdigest()


def vectors_path(texts: Iterable[str], key: str) -> Path:
    """Where the vectors of these texts are kept, by a key of all else that decides them."""
    digest = hashlib.sha256(key.encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return caches.folder("teachers") / f"{digest.hexdigest()[:32]}.safetensors"


def kept_vectors(path: Path, shape: tuple[int, int]) -> tuple[Floats, float] | None:
    """The vectors that were kept, and the seconds that they took; None if there are none, or damaged ones."""
    try:
        arrays, about = load_tensors(path)
        vectors = np.array(arrays["vectors"], np.float32)
        seconds = float(about["seconds"])
    except (ModelError, KeyError, ValueError):
        return None
    return (vectors, seconds) if vectors.shape == shape else None


def keep_vectors(path: Path, vectors: Floats, teacher: str, seconds: float) -> None:
    """Keep vectors, and what they took; a cache that cannot be written is no error."""
    with caches.writing():
        about = {"teacher": teacher, "seconds": f"{seconds:.3f}"}
        save_tensors(path, {"vectors": vectors}, about, sealed=True)
