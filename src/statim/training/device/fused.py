"""Whether kernels written in triton run here, in place of several operations of torch each."""

import os
from importlib.util import find_spec

import torch


def is_fused(device: torch.device) -> bool:
    """Triton is there and runs on ``device`` (a processor interprets it); STATIM_TRITON=0 turns it off."""
    if os.environ.get("STATIM_TRITON") == "0" or find_spec("triton") is None:
        return False
    return device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
