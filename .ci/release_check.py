"""Check a release: what the wheel holds, and that README's quickstart runs from it in an empty environment.

    python .ci/release_check.py dist [EXTRA ...]

Each extra is installed into its own environment; the default is ``train``, which the quickstart needs.
"""

import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "src" / "statim" / "kernels"
FORBIDDEN = re.compile(r"(^|/)(tests?|benchmarks|docs|__pycache__)(/|$)|\.(pyc|nbi|nbc|so|npy)$")


def check_contents(wheel: Path) -> None:
    """Fail unless the wheel holds statim and its metadata alone."""
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [
        name
        for name in names
        if not re.match(r"statim(-[\w.]+\.dist-info)?/", name) or FORBIDDEN.search(name)
    ]
    if foreign:
        raise SystemExit(f"{wheel.name} holds what does not belong into it: {', '.join(foreign[:5])}")
    for needed in ("statim/py.typed", "statim/__init__.py", "statim/cli/__init__.py", *prepared_code()):
        if needed not in names:
            raise SystemExit(f"{wheel.name} lacks {needed}")
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def prepared_code() -> list[str]:
    """The files of compiled kernels that a wheel built on this machine holds: one a level of processors."""
    if platform.machine() != "x86_64":
        return []
    python = f"{sys.implementation.cache_tag}{sys.abiflags}"
    numba = re.search(r"^numba==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    levels = re.findall(r'Level\("([\w-]+)"', (KERNELS / "processor.py").read_text(encoding="utf-8"))
    stem = f"statim/kernels/code/{python}-numba-{numba[1]}-{sysconfig.get_platform()}"
    return [f"{stem}-{level}.kernels" for level in levels]


def try_it(wheel: Path, extra: str) -> None:
    """Install the wheel with an extra, and run the quickstart, or without torch only load the package."""
    (quickstart,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    with tempfile.TemporaryDirectory() as place:
        venv.create(Path(place, "venv"), with_pip=True)
        bins = Path(place, "venv", "Scripts" if os.name == "nt" else "bin")
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        environment |= {"STATIM_CACHE": str(Path(place, "cache")), "HF_HUB_OFFLINE": "1"}

        def run(*command: str) -> None:
            subprocess.run([str(bins / command[0]), *command[1:]], cwd=place, env=environment, check=True)

        pip = (
            "python",
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-c",
            str(ROOT / "constraints.txt"),
        )
        trains = extra in ("train", "all")
        if trains:
            run(*pip, "torch")  # first and by itself, so that a CPU build is taken where there is one
        run(*pip, f"{wheel}[{extra}]")
        environment["NUMBA_CACHE_DIR"] = str(Path(place, "compiled"))
        run("statim", "--version")
        run("statim", "cache", "info")
        run("python", "-c", quickstart if trains else "import statim; statim.StaticModel, statim.Index")
        compiled = sorted(path.name for path in Path(place, "compiled").rglob("*.nbi"))
        if compiled and prepared_code():
            raise SystemExit(f"the quickstart compiled what should be prepared: {', '.join(compiled)}")


if __name__ == "__main__":
    (found,) = Path(sys.argv[1]).resolve().glob("*.whl")
    check_contents(found)
    for name in sys.argv[2:] or ["train"]:
        try_it(found, name)
        print(f"statim[{name}] works in an empty environment")
