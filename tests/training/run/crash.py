"""Train, be killed with SIGKILL again and again, go on, and be done: run by test_crash.py in a process of its
own.

    python crash.py PAIRS FOLDER SEED KILLS PRECISION

A fresh child is forked for every attempt, so that none pays for the imports. Half of the children are
killed a moment after some steps, the others at a random one of their calls to the file system, before or
after it. FOLDER then holds ``whole``, trained without a kill, ``killed``, and beside each its last
checkpoint (``.last``). Prints the steps from which children went on, as JSON.
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

from statim.training.run import checkpoint
from statim.training.train import train

OPTIONS = {
    "start": "random", "dim": 256, "batch": 16, "epochs": 8, "heldout": 20, "development": 40,
    "evaluate_every": 7,
    "keep": "best", "checkpoint_every": 3, "threads": 2, "baselines": False, "learning_rate": 0.1,
    "weight_decay": 0.1, "token_dropout": 0.2,
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
    train(out=out, resume=True) if resume else train(pairs, out=out, precision=sys.argv[5], **OPTIONS)


def attempt(pairs: Path, out: Path, steps: int, delay: float, call: int, before: bool) -> bool:
    """One child, perhaps killed; says whether it was done."""
    resume = (checkpoint.folder(out) / checkpoint.RUN).is_file()
    if not resume and (out / checkpoint.LOG).is_file():
        return True  # killed when all was done but for removing what is no longer needed
    aim = checkpoint.newest_step(out) + steps
    process = os.fork()
    if process == 0:
        try:
            child(pairs, out, resume, call, before)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    if steps:
        while newest(out) < aim:
            if (ended := os.waitpid(process, os.WNOHANG))[0]:
                return succeeded(ended[1])
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
    return succeeded(os.waitpid(process, 0)[1])


def newest(out: Path) -> int:
    """The newest checkpoint's step; the child may be removing the folder at this moment."""
    try:
        return checkpoint.newest_step(out)
    except FileNotFoundError:
        return 0


def succeeded(status: int) -> bool:
    """Was the child done, not killed? It must not fail of itself."""
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("the child failed")
    return os.WIFEXITED(status)


def main() -> None:
    pairs, folder, seed, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    choose = random.Random(seed)
    assert attempt(pairs, folder / "whole", 0, 0, 0, False)
    done, steps = False, []
    for number in range(kills):
        so_many, delay, before = choose.randrange(1, 25), choose.uniform(0, 0.05), choose.random() < 0.5
        call = choose.randrange(1, 150)
        aim = (so_many, delay, 0) if number % 2 else (0, 0, call)
        done = attempt(pairs, folder / "killed", *aim, before)
        if done:
            break
        steps.append(checkpoint.newest_step(folder / "killed"))
    done = done or attempt(pairs, folder / "killed", 0, 0, 0, False)
    json.dump({"done": done, "steps": steps}, sys.stdout)


if __name__ == "__main__":
    main()
