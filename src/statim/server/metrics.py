"""Counts and times of requests, in the text format of Prometheus."""

import sys
import threading
import time
from collections import Counter
from pathlib import Path

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What happened since the server started."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()
        self._work: Counter[tuple[str, str]] = Counter()

    def count(self, path: str, status: int, seconds: float, model: str, texts: int, tokens: int) -> None:
        """A request is answered; ``path`` is one of few."""
        with self._lock:
            self._requests[path, status] += 1
            buckets = self._buckets.setdefault(path, [0] * (len(BOUNDS) + 1))
            buckets[next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
            self._seconds[path] += seconds  # type: ignore[assignment]
            if model:
                self._work["texts", model] += texts
                self._work["tokens", model] += tokens

    def text(self) -> str:
        """All of it."""
        with self._lock:
            lines = ["# TYPE statim_requests_total counter"]
            lines += [
                f'statim_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            lines.append("# TYPE statim_request_seconds histogram")
            for path, buckets in sorted(self._buckets.items()):
                lines += self._histogram(path, buckets)
            for what in ("texts", "tokens"):
                lines.append(f"# TYPE statim_{what}_total counter")
                lines += [
                    f'statim_{what}_total{{model="{model}"}} {count}'
                    for (name, model), count in sorted(self._work.items())
                    if name == what
                ]
            lines += ["# TYPE statim_requests_in_flight gauge", f"statim_requests_in_flight {self.in_flight}"]
            lines += [
                "# TYPE process_start_time_seconds gauge",
                f"process_start_time_seconds {self._started:.3f}",
            ]
        if (resident := _resident()) is not None:
            lines += [
                "# TYPE process_resident_memory_bytes gauge",
                f"process_resident_memory_bytes {resident}",
            ]
        return "\n".join(lines) + "\n"

    def _histogram(self, path: str, buckets: list[int]) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*BOUNDS, "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'statim_request_seconds_bucket{{path="{path}",le="{bound}"}} {total}')
        lines.append(f'statim_request_seconds_sum{{path="{path}"}} {self._seconds[path]:.6f}')
        return [*lines, f'statim_request_seconds_count{{path="{path}"}} {total}']


def _resident() -> int | None:
    """Bytes of this process in memory, where Linux says so."""
    if sys.platform != "linux":
        return None
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
