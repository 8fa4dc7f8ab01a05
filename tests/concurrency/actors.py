"""What processes of the tests here do: python actors.py ROLE FOLDER [ARGUMENTS]. Each prints what the test
compares.
"""

import contextlib
import hashlib
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.errors import BusyError
from statim.model import StaticModel
from statim.search.index import Index

WORDS = [f"w{number:03}" for number in range(300)]
MANY = 2000  # texts: more than the few that need no compiled code
PATIENCE = 60


def model() -> StaticModel:
    backend = tokenizers.Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 32)).astype(np.float32)
    return StaticModel(table, backend)  # fmt: skip


def texts(count: int = MANY, seed: int = 0) -> list[str]:
    chosen = np.random.default_rng(seed).choice(WORDS, (count, 12))
    return [" ".join(row[: 1 + number % 12]) for number, row in enumerate(chosen)]


def answers(index: Index, used: StaticModel, threads: int = 2) -> str:
    """A digest of vectors and hits."""
    seen = hashlib.sha256(used.encode(texts(), threads=threads).tobytes())
    for mode in ("vector", "bm25", "hybrid"):
        hits = index.search(["w001 w002", "w250"], 5, mode=mode, threads=threads)
        seen.update(repr([[(hit.id, hit.score) for hit in some] for some in hits]).encode())
    return seen.hexdigest()


def child(place: str, connection) -> None:
    connection.send(answers(Index.load(place), model()))
    connection.close()


def inherited(index: Index, used: StaticModel, connection) -> None:
    connection.send(answers(index, used))
    connection.close()


def start_processes(folder: Path, method: str) -> None:
    """Threads encode and search while children are started, which do so too: by what they inherit, and by
    what they load.
    """
    used = model()
    index = Index.build(used, texts(300), folder / "index")
    truth, stop, wrong = answers(index, used), threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            if answers(index, used) != truth:
                wrong.append("a thread of the parent")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context(method)
    for number in range(6 if method == "fork" else 2):
        ours, theirs = context.Pipe(duplex=False)
        target, given = (
            (inherited, (index, used))
            if method == "fork" and number % 2
            else (child, (str(folder / "index"),))
        )
        process = context.Process(target=target, args=(*given, theirs))
        process.start()
        theirs.close()
        found = ours.recv() if ours.poll(PATIENCE) else "nothing"
        process.join(PATIENCE)
        if found != truth or process.exitcode != 0:
            wrong.append(f"child {number}: {found[:8]}, exit code {process.exitcode}")
            process.kill()
    stop.set()
    for thread in threads:
        thread.join()
    sys.stdout.write("same" if not wrong else "; ".join(wrong))  # fmt: skip


def leave(folder: Path, way: str, what: str) -> None:
    """End the interpreter in the middle of encoding, searching or training."""
    used, given, begun = model(), texts(), threading.Event()
    index = Index.build(used, given[:300], folder / "index") if what == "search" else None
    pairs = [{"anchor": text, "positive": text[::-1]} for text in given]

    def once() -> None:
        if what == "encode":
            used.encode(given, threads=2)
        elif index is not None:
            index.search(given[:300], 5, threads=2)
        else:
            from statim.training.train import train

            threading.Timer(0.2, begun.set).start()
            train(pairs, out=folder / "out", start=used, heldout=0, epochs=500, batch=16, threads=2,
                  checkpoint_every=5)  # fmt: skip
        begun.set()

    def work() -> None:
        for _ in range(20 if way != "daemon" else 10**9):
            once()
        sys.stdout.write(", done")
        sys.stdout.flush()

    if what == "train":
        import statim.training.pipeline  # noqa: F401  (imports are not what is to be interrupted)
    if way == "pool":
        ThreadPoolExecutor(2).submit(work)
    else:
        threading.Thread(target=work, daemon=way == "daemon").start()
    begun.wait(PATIENCE)
    sys.stdout.write("leaving")
    sys.stdout.flush()
    sys.exit(0)


def first_run(folder: Path, start: str) -> None:
    """Read the documentation of a package into an empty cache, at the same time as another process."""
    from statim.data import python_docs

    time.sleep(max(0.0, float(start) - time.time()))
    sys.stdout.write(python_docs(["typer", "click"]).hash)


def add(folder: Path, name: str, count: str) -> None:
    """Add documents to an index, one at a time, trying again where another process is writing."""
    busy = 0
    for number in range(int(count)):
        for _ in range(1000):
            with contextlib.suppress(BusyError):
                Index.load(folder / "index").add([f"w001 w00{number}"], ids=[f"{name}{number}"])
                break
            busy += 1
            time.sleep(0.01)
    sys.stdout.write(str(busy))


if __name__ == "__main__":
    {"processes": start_processes, "leave": leave, "first": first_run, "add": add}[sys.argv[1]](
        Path(sys.argv[2]), *sys.argv[3:]
    )
