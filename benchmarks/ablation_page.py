"""The table of ablations in Markdown, from what benchmarks/ablation.py has found so far."""

import platform
from typing import Any

from ablation_rows import GROUPS, ROWS

ORDER = ("python-docs", "debian-descriptions", "medquad", "msdocs", "arxiv")
SEEDS = range(1, 4)
OLD_SEEDS = range(3)  # rows that were measured before the seed of the choice was another

HEAD = """# What raises quality

NDCG@10 on held-out test pairs, near-duplicates of training pairs excluded. A row is a training of 3 epochs
with one thing changed (the package's own default is 300 steps, 3 to 18 epochs, since longer trainings gained
most: the rows called `usual`). Its rate is chosen on development pairs with seed 0, so an arm is not judged
at another arm's rate; the figure is the mean on the test pairs of three other seeds, so that the choice does
not flatter it (with † of seeds 0, 1 and 2), and in brackets their spread (largest minus smallest). **Bold**
is better than `default`, *italic* worse, each by more than both spreads together; of the rows `usual-...`
better or worse than `usual`. "Time" is processor time of training, mining included and a teacher's reading
not, relative to `default`'s, the median over the sets.

A row is measured by

    python benchmarks/ablation.py python-docs DATA/debian-descriptions DATA/medquad DATA/msdocs DATA/arxiv \\
        --only ROW --set SET

where DATA is a folder of pairs; without `--only` and `--set` whatever is missing is measured. Nothing here
was chosen by looking at the test pairs. A cell with a dash has not been measured. Figures of an earlier
machine, with two of the sets at full size, and whether self-mined hard negatives pay at equal time, are in
benchmarks/HISTORY.md ("Ingredients, at full size").
"""

NEGATIVES = """## Self-mined hard negatives at equal training time

One negative of each pair, mined once before the first epoch by the table itself, beside as many plain epochs
as that time buys: first from 3 epochs, then from the default number. Rates are tuned in each arm; the seconds
are of the processor.

"""

# Rows that train for longer and do nothing else; of them the longest that takes no more than AS_LONG times as
# long is compared
PLAIN = ("epochs-5", "epochs-9", "epochs-18", "epochs-36")
AS_LONG = 1.05

Found = dict[str, Any]


def page(found: dict[str, Found]) -> str:
    """The page.

    Args:
        found: Name of a set -> what is known of it, as in its file.
    """
    sets = [name for name in ORDER if name in found] + sorted(set(found) - set(ORDER))
    parts = [
        HEAD,
        f"Machine: {machine()}. Last measured: {max(one.get('date', '') for one in found.values())}.\n"
        if found
        else "",
    ]
    parts += [sizes(sets, found), goal(sets, found), negatives(sets, found), *rows(sets, found)]
    return "\n".join(part for part in parts if part)


def machine() -> str:
    """The processor, as the system names it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} cores of {names[0]}, shared with others" if names else platform.machine()


def sizes(sets: list[str], found: dict[str, Found]) -> str:
    """How many pairs each set has."""
    counts = [(name, found[name]["pairs"]) for name in sets if "pairs" in found[name]]
    body = [
        [name, *(f"{pairs[part]:,}" for part in ("read", "train", "development", "test"))]
        for name, pairs in counts
    ]
    cut = [
        f"{name} is cut to {pairs['limit']:,} pairs, drawn at random (--limit {pairs['limit']})"
        for name, pairs in counts
        if "limit" in pairs
    ]
    said = f"\n{'; '.join(cut)}.\n" if cut else ""
    return "## The sets\n\n" + table(["set", "pairs", "trained on", "development", "test"], body) + said


def goal(sets: list[str], found: dict[str, Found]) -> str:
    """The defaults, no rate chosen, beside BM25 and the teacher."""
    body = []
    if not any(found[name].get("baselines") for name in sets):
        return ""
    for name in sets:
        row, base = current(found[name], "usual"), found[name].get("baselines", {})
        figures = tests(row, row.get("own"))
        best = max(base.values(), default=None)
        said = "" if not figures or len(base) < 2 else "yes" if min(figures) > best else "no"
        body.append([name, shown(figures), *(number(base.get(other)) for other in ("bm25", "teacher")), said])
    head = ["set", "defaults, nothing tuned", "BM25", "teacher (all-MiniLM-L6-v2)", "above both"]
    return "## The defaults against BM25 and the teacher, untrained\n\n" + table(head, body)


def negatives(sets: list[str], found: dict[str, Found]) -> str:
    """Trainings with mined negatives beside plain ones of equal time, each with its processor seconds."""
    body = []
    for name in sets:
        place = found[name]
        plain = [
            row
            for row in PLAIN
            if took(place, row) and took(place, row) <= AS_LONG * took(place, "hard-1-once")
        ]
        longest = max(plain, key=lambda row: took(place, row), default="epochs-9")
        rows = ("default", "hard-1-once", longest, "usual", "usual-hard-1", "usual-hard-1-time")
        if took(place, "hard-1-once"):
            body.append([name, *(timed(place, row) for row in rows)])
    head = ["set", "3 epochs", "and 1 negative", "more epochs", "by default", "and 1 negative", "more epochs"]
    return NEGATIVES + table(head, body) if body else ""


def timed(place: Found, name: str) -> str:
    """A cell of that table."""
    row = current(place, name)
    figures = tests(row, row.get("rate"))
    epochs = row.get("epochs") or row.get("arm", {}).get("recipe", {}).get("epochs")
    many = f"{epochs} epochs: " if epochs and name in (*PLAIN, "usual-hard-1-time") else ""
    return f"{many}{shown(figures)}, {took(place, name):.1f} s" if figures else "-"


def took(place: Found, name: str) -> float:
    """The median of a row's processor seconds, 0 if it was not measured."""
    row = current(place, name)
    seconds = sorted(run["seconds"] for run in row.get("runs", {}).values())
    return seconds[len(seconds) // 2] if seconds and tests(row, row.get("rate")) else 0.0


def rows(sets: list[str], found: dict[str, Found]) -> list[str]:
    """A table for each group of rows; those that have not been measured on any set are named at the end."""
    parts, missing = ["## Ingredients\n"], []
    head = ["row", "what is changed", *sets, "rates", "time"]
    body = []
    for group, arms in GROUPS.items():
        lines = []
        for name, arm in arms.items():
            cells, times, rates = [], [], []
            for place in sets:
                default, row = current(found[place], "default"), current(found[place], name)
                other = current(found[place], "usual") if arm.usual else default
                figures = tests(row, row.get("rate"))
                beside = [] if other is row else tests(other, other.get("rate"))
                epochs = f", {row['epochs']} epochs" if figures and "epochs" in row else ""
                cells.append(marked(figures, beside) + epochs)
                rates.append(f"{row['rate']:g}" if figures else "-")
                times += cost(row, default)
            if any(cell != "-" for cell in cells):
                time = f"{sorted(times)[len(times) // 2]:.1f}" if times else "-"
                lines.append([f"`{name}`", arm.words, *cells, " ".join(rates), time])
            else:
                missing.append(name)
        if lines and group:
            body.append([f"**{group}**", *[""] * (len(head) - 1)])
        body += lines
    parts.append(table(head, body))
    if missing:
        parts.append("Not measured yet: " + ", ".join(f"`{name}`" for name in missing) + ".\n")
    return parts


def current(place: Found, name: str) -> Found:
    """What is known of a row as it is defined now."""
    row: Found = place["rows"].get(name, {})
    return row if row.get("arm") == ROWS[name].key() else {}


def tests(row: Found, rate: float | None) -> "Figures":
    """The figures of all seeds at a rate; none unless all are there."""
    if rate is None:
        return Figures()
    runs = row.get("runs", {})
    for seeds in (SEEDS, OLD_SEEDS):
        keys = [f"{rate:g} {seed}" for seed in seeds]
        if all(key in runs for key in keys):
            return Figures(runs[key]["test"] for key in keys).of(seeds)
    return Figures()


class Figures(list[float]):
    """Test figures of some seeds.

    Attributes:
        old: The seed that chose the rate is one of them.
    """

    old = False

    def of(self, seeds: range) -> "Figures":
        """Remember which seeds they are of."""
        self.old = seeds == OLD_SEEDS
        return self


def cost(row: Found, default: Found) -> list[float]:
    """Processor time of a row's trainings relative to the default's, if both are known."""
    own, usual = (sorted(run["seconds"] for run in one.get("runs", {}).values()) for one in (row, default))
    return [own[len(own) // 2] / usual[len(usual) // 2]] if own and usual and "rate" in row else []


def marked(figures: list[float], default: list[float]) -> str:
    """A cell; see HEAD."""
    text = shown(figures)
    if not figures or not default:
        return text
    gain = mean(figures) - mean(default)
    mark = "" if abs(gain) <= spread(figures) + spread(default) else "**" if gain > 0 else "*"
    return f"{mark}{text}{mark}"


def shown(figures: list[float]) -> str:
    """Mean and spread."""
    dagger = "†" if getattr(figures, "old", False) else ""
    return f"{number(mean(figures))} ({number(spread(figures))}){dagger}" if figures else "-"


def mean(figures: list[float]) -> float:
    return sum(figures) / len(figures)


def spread(figures: list[float]) -> float:
    return max(figures) - min(figures)


def number(value: float | None) -> str:
    """Four digits without the zero before the point."""
    return "-" if value is None else f"{value:.4f}".removeprefix("0")


def table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
