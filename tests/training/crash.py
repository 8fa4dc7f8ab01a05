"""Train, be killed with SIGKILL again and again, go on, and be done: run by test_crash.py in a process of its own.

    python crash.py PAIRS FOLDER SEED KILLS

A fresh child is forked for every attempt, so that none pays for the imports. Half of the children are killed at a random moment,
the others at a random one of their calls to the file system, before or after it. FOLDER then holds ``whole``, trained without a
kill, ``killed``, and beside each its last checkpoint (``.last``). Prints the steps from which children went on, as JSON.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from functools import wraps
from pathlib import Path

from statim.training import checkpoint
from statim.training.train import train

OPTIONS = {
    "start": "random", "dim": 256, "batch": 16, "epochs": 8, "heldout": 20, "development": 40, "evaluate_every": 7,
    "keep": "best", "checkpoint_every": 3, "threads": 2, "baselines": False, "learning_rate": 0.1,
}  # fmt: skip
CALLS = [(os, name) for name in ("fsync", "replace", "unlink", "rmdir", "mkdir", "chmod", "open")]


def die_at(call: int, before: bool) -> None:
    """Kill this process at its so-manieth call to the file system."""
    numbers = itertools.count(1)  # for all threads

    def watched(function):
        @wraps(function)
        def wrapper(*arguments, **options):
            number = next(numbers)
            if number == call and before:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*arguments, **options)
            finally:
                if number == call:
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapper

    for module, name in CALLS:
        setattr(module, name, watched(getattr(module, name)))


def child(pairs: Path, out: Path, resume: bool, call: int, before: bool) -> None:
    finish = checkpoint.finish

    def keep_last(where):
        kept = checkpoint.steps(where)
        if kept:
            shutil.copytree(kept[-1], f"{out}.last", dirs_exist_ok=True)
        finish(where)

    checkpoint.finish = keep_last
    if call:
        die_at(call, before)
    train(out=out, resume=True) if resume else train(pairs, out=out, **OPTIONS)


def attempt(pairs: Path, out: Path, seconds: float, call: int, before: bool) -> bool:
    """One child, perhaps killed; says whether it was done."""
    resume = (checkpoint.folder(out) / checkpoint.RUN).is_file()
    process = os.fork()
    if process == 0:
        try:
            child(pairs, out, resume, call, before)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    if seconds:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status):
            sys.exit("the child failed")
        return True
    return False


def main() -> None:
    pairs, folder, seed, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    choose = random.Random(seed)
    started = time.perf_counter()
    assert attempt(pairs, folder / "whole", 0, 0, False)
    whole = time.perf_counter() - started
    done, steps = False, []
    for number in range(kills):
        seconds = choose.uniform(0.3, 0.7) * whole if number % 2 else 0
        call = 0 if number % 2 else choose.randrange(1, 150)
        done = attempt(pairs, folder / "killed", seconds, call, choose.random() < 0.5)
        if done:
            break
        steps.append(checkpoint.newest_step(folder / "killed"))
    done = done or attempt(pairs, folder / "killed", 0, 0, False)
    json.dump({"done": done, "steps": steps, "seconds": round(whole, 1)}, sys.stdout)


if __name__ == "__main__":
    main()
