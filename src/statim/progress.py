"""A progress bar for work of over a second: rate, share, time left; silent if not on a terminal."""

import sys
import time
from types import TracebackType
from typing import Any, Self

PATIENCE = 1.0  # seconds of work before a bar appears


class Progress:
    """A bar on standard error, drawn only on a terminal and only once the work has lasted a second.

    >>> with Progress("encode", total=10_000, unit="texts", show=True) as bar:
    ...     bar.advance(1_000)
    """

    def __init__(self, label: str, *, total: int | None, unit: str, show: bool) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.show = show and sys.stderr is not None and sys.stderr.isatty()
        self.done = 0
        self.started = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def advance(self, amount: int, note: str = "") -> None:
        """Count ``amount`` more units as done; ``note`` is shown behind the figures (a loss, a score)."""
        self.done += amount
        if not self.show:
            return
        elapsed = time.perf_counter() - self.started
        if self._bar is None:
            if elapsed < PATIENCE:
                return
            self._start()
        rate = f"{self.done / elapsed:,.0f} {self.unit}/s"
        self._bar.update(self._task, completed=self.done, rate=rate, note=note)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self.label, total=self.total, rate="", note="")
        self._bar.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class Clock:
    """Wall seconds of the parts of a task.

    Attributes:
        seconds: By name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def skip(self) -> None:
        """What has passed since the last part counts for none."""
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        """End this part and begin the next; a name that comes again adds to its seconds."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
