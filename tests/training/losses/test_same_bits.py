"""Training gives the same bits whether kernels are compiled now or found compiled."""

import os
import subprocess
import sys

STEP = """
import hashlib
import numpy as np
from problems import random_problem
from statim.training.losses.contrastive import contrastive

anchors, candidates, targets = random_problem(0, 300, 600, 96, np.float32)
loss, gradient = contrastive(anchors, candidates, targets, levels=(24, 48, 96), threads=2)
print(loss, hashlib.sha256(gradient.tobytes()).hexdigest())
"""


def test_compiled_just_now_or_found_in_the_cache(tmp_path):
    places = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": places}
    environment["NUMBA_BOUNDSCHECK"] = "0"  # prepared code is left alone then
    fresh, cached = (
        subprocess.run(
            [sys.executable, "-c", STEP], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    )
    assert any(tmp_path.iterdir())
    assert fresh == cached
