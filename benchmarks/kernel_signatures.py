"""Write the list of what usual runs call kernels with, from which code is prepared.

python benchmarks/kernel_signatures.py

Run it when a kernel or its arguments change. The verbs of ``first_use.py`` and their variants run as on two
kinds of processors; this one must have AVX-512 VNNI and bfloat16.
"""

import json
import tempfile
from pathlib import Path

from first_use import RUN, material, run, verbs
from statim.kernels import processor, signatures

# A call from outside looks for compiled code while nothing is being compiled
RECORD = """
import atexit, json, os
from numba.core import event
from numba.core.typing import Signature
from statim.kernels import prepared, signatures
class Depth(event.Listener):
    now = 0
    def on_start(self, event):
        self.now += 1
    def on_end(self, event):
        self.now -= 1
depth, found, load = Depth(), [], prepared.Cache.load_overload
def recorded(self, sig, context):
    if depth.now == 0 and not isinstance(sig, Signature):
        found.append([f"{self.function.__module__}.{self.function.__qualname__}", signatures.written(sig)])
    return load(self, sig, context)
prepared.Cache.load_overload = recorded
event.register("numba:compile", depth)
atexit.register(lambda: open(os.environ["RECORD"], "w").write(json.dumps(found)))
"""
VARIANTS = {"train": [[], *(["--precision", name] for name in ("int8", "bf16", "fp32"))]}


def main() -> None:
    found: dict[str, set[str]] = {}
    least, most = processor.LEVELS[0], processor.LEVELS[-1]
    kinds = [(least.cpu, least.flags()), (most.cpu, f"{most.flags()},+avx512bf16")]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        material(folder, 2000, ["stdlib"])
        for verb, arguments in verbs(folder).items():
            for more in VARIANTS.get(verb, [[]]):
                for number, (cpu, flags) in enumerate(kinds):
                    asked = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": flags}
                    listed, cache = folder / "calls.json", folder / f"compiled {number}"
                    print(cpu, " ".join([verb, *more]), flush=True)
                    run([*arguments, *more], cache, RECORD + RUN, RECORD=str(listed), **asked)
                    for name, types in json.loads(listed.read_text(encoding="utf-8")):
                        found.setdefault(name, set()).add(types)
    listing = {name: sorted(types) for name, types in sorted(found.items())}
    signatures.LIST.write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(map(len, listing.values()))} signatures of {len(listing)} kernels")


if __name__ == "__main__":
    main()
