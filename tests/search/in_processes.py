"""Search with an engine in the parent, on several threads, and then in a child: python in_processes.py ENGINE
METHODS FOLDER

Writes a line for each way in which a child found what its parent did; one that hangs is killed after
PATIENCE seconds.
"""

import multiprocessing
import sys
from pathlib import Path

import numpy as np

from statim.search.engines.registry import load, make

N, D, THREADS, PATIENCE = 1200, 16, 2, 100


def vectors(count, seed):
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


def search(name, engine, folder, connection):
    """In a child: by the parent's engine if there is one, by a loaded one, and by one built there."""
    queries = vectors(300, 1)
    loaded, built = load(name, folder, D), make(name, D)
    built.add(vectors(N, 0))
    built.prepare(threads=THREADS)
    for own in (engine, loaded):
        if own is not None:
            for some in (queries, queries[:1]):
                connection.send(own.search(some, 5, threads=THREADS)[1])
    connection.send(len(built.search(queries, 5, threads=THREADS)[1]))
    connection.close()


def answers(context, *arguments):
    """What a child sends until it ends."""
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=search, args=(*arguments, theirs))
    child.start()
    theirs.close()
    found = []
    try:
        while ours.poll(PATIENCE):
            found.append(ours.recv())
    except EOFError:
        child.join(PATIENCE)
    child.kill()
    return found


def main():
    name, methods, folder = sys.argv[1], sys.argv[2].split(","), Path(sys.argv[3])
    engine = make(name, D)
    engine.add(vectors(N, 0))
    engine.prepare(threads=THREADS)
    engine.save(folder)
    queries = vectors(300, 1)
    truth = engine.search(queries, 5, threads=THREADS)[1]
    engine.search(queries[:1], 5, threads=THREADS)
    for method in methods:
        inherited = engine if method == "fork" else None
        found = answers(multiprocessing.get_context(method), name, inherited, folder)
        expected = [truth, truth[:1]] * (1 if inherited is None else 2) + [len(queries)]
        same = [np.array_equal(a, b) for a, b in zip(found, expected, strict=False)]
        if len(found) == len(expected) and all(same):
            sys.stdout.write(f"found by {method}\n")


if __name__ == "__main__":
    main()
