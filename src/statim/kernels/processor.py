"""What compiled code may use of the processor, and the levels that code is prepared for.

Numba compiles for the processor that it runs on, or for the one that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
name. Prepared code is made for a few levels of processors instead, so that it fits other machines too.
"""

from dataclasses import dataclass

from llvmlite import binding
from numba import config

V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.1", "sse4.2", "ssse3")
V4 = (*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
# kernels are written differently with these, so prepared code must agree in them
DECISIVE = ("avx2", "avx512f", "avx512vnni")


@dataclass(frozen=True)
class Level:
    """Processors that the same code fits.

    Attributes:
        name: As in the names of files.
        cpu: LLVM's name of the processor that code is arranged for.
        features: What the processor must have, by LLVM's names.
        wide: Whether loops use registers of 512 bits, which Intel's processors are slower with.
    """

    name: str
    cpu: str
    features: tuple[str, ...]
    wide: bool = False

    def fits(self, features: dict[str, bool], wide: bool) -> bool:
        """Whether its code runs on a processor with these features, and as fast as any other."""
        return (
            all(features.get(name) for name in self.features)
            and all(bool(features.get(name)) == (name in self.features) for name in DECISIVE)
            and (self.wide == wide or "avx512f" not in self.features)
        )

    def flags(self) -> str:
        """Its features as numba and LLVM take them."""
        narrow = ("-" if self.wide else "+") + "prefer-256-bit"
        return ",".join([*(f"+{name}" for name in self.features), narrow])


LEVELS = (
    Level("x86-64-v3", "x86-64-v3", V3),
    Level("x86-64-v4", "x86-64-v4", V4),
    Level("x86-64-v4-vnni", "x86-64-v4", (*V4, "avx512vnni")),
    Level("x86-64-v4-vnni-wide", "x86-64-v4", (*V4, "avx512vnni"), wide=True),
)


def _features() -> dict[str, bool]:
    if config.CPU_FEATURES is not None:
        return {name[1:]: name[0] == "+" for name in config.CPU_FEATURES.split(",") if name}
    return {} if config.CPU_NAME else dict(binding.get_host_cpu_features())


# of the processor that code is compiled for
FEATURES = _features()


def level() -> Level | None:
    """The level whose code fits this processor; None if none does, or numba is told to compile otherwise."""
    changed = (config.CPU_NAME, config.CPU_FEATURES, config.BOUNDSCHECK) != (None, None, None)
    if changed or not config.ENABLE_AVX or config.DEBUGINFO_DEFAULT or int(config.OPT) != 3:
        return None
    wide = binding.get_host_cpu_name().startswith("znver")
    return next((one for one in LEVELS if one.fits(FEATURES, wide)), None)
