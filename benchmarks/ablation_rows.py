"""The rows of the ablation table: what each changes in the default training. See ablation.py."""

from dataclasses import asdict, dataclass, field
from typing import Any

WORDS = 10_000  # the default's new words; see statim.training.start


@dataclass(frozen=True)
class Arm:
    """A training that differs from the default in something.

    Attributes:
        words: For the table.
        start: ``distilled`` or ``random``.
        grow: New words, and new pairs of words.
        sif: The constant of the start's weights a / (a + p); None for the default's, 0 for no weights.
        recipe: What differs from the default recipe.
        whole: Train the full dimension alone, without Matryoshka levels.
        masked: Leave an anchor's other known positives out of its negatives.
        guard: Of hard negatives: ``margin`` (the relative margin), and ``sampling``.
        miner: Who finds hard negatives: ``self`` or ``teacher``.
        shape: What is made of the trained table: a name of ablation.SHAPES, or nothing.
        shape_with: Its number.
        usual: As many epochs as the package trains by default, instead of the 3 of all other rows.
        time_of: As many epochs, counted from the usual ones, as the time of that row buys; for rows
            without negatives.
        distil: The texts a teacher's vectors are learned of beside the pairs (``pairs`` or ``sentences``),
            and how many at most.
        rates: Where the search for the rate begins: two neighbours in the row 0.0125, 0.025, 0.05, 0.1 …;
            by default the two that were best for the row it is compared with.
        slow: Done only if asked for by name.
    """

    words: str
    start: str = "distilled"
    grow: tuple[int, int] = (WORDS, 0)
    sif: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    masked: bool = True
    guard: dict[str, Any] = field(default_factory=dict)
    miner: str = "self"
    shape: str = ""
    shape_with: float = 0
    usual: bool = False
    time_of: str = ""
    distil: tuple[str, int] = ("", 0)
    rates: tuple[float, float] | None = None
    slow: bool = False

    @property
    def tries(self) -> int:
        """How many rates are tried at most: of long trainings fewer."""
        return 2 if self.time_of or "hard_negatives" in self.recipe else 3

    def key(self) -> dict[str, Any]:
        """What it is, for the file of results: one that was measured otherwise is measured anew."""
        found = asdict(self)
        del found["words"], found["slow"], found["rates"]
        for name in ("usual", "time_of", "distil"):  # came later: rows measured before know nothing of them
            if found[name] in (False, "", ("", 0)):
                del found[name]
        return found | {name: list(found[name]) for name in ("grow", "distil") if name in found}


def _hard(words: str, count: int = 1, every: int = 1, epochs: int = 3, loss: str = "", **more: Any) -> Arm:
    recipe = {"hard_negatives": count, "mine_every": every, "epochs": epochs}
    return Arm(words, recipe=recipe | ({"loss": loss} if loss else {}), **more)


def _usual(words: str, count: int = 0, every: int = 100, **more: Any) -> Arm:
    mined = {"hard_negatives": count, "mine_every": every} if count else {}
    return Arm(words, recipe=mined, usual=True, **more)


def _distil(words: str, kind: str, texts: int, **recipe: Any) -> Arm:
    return Arm(words, recipe=recipe, distil=(kind, texts), slow=True)


TEXTS = 9000  # that a teacher reads, where it does not read all


# What is to be compared stands together; the first is the default
GROUPS: dict[str, dict[str, Arm]] = {
    "": {
        "default": Arm("3 epochs, all else by default", rates=(0.1, 0.2)),
    },
    "Start": {
        "random": Arm("random rows, vocabulary of the corpus", "random", (0, 0), rates=(0.2, 0.4)),
        "sif-none": Arm("distilled, all rows weigh alike", sif=0),
        "sif-1e-2": Arm("distilled, weights a / (a + p) with a = 0.01 (default 0.001)", sif=1e-2),
        "sif-1e-4": Arm("the same with a = 0.0001", sif=1e-4),
    },
    "Vocabulary": {
        "words-0": Arm("no new words", grow=(0, 0)),
        "pairs-10000": Arm("10,000 pairs of words besides the words", grow=(WORDS, 10_000)),
        "pairs-only": Arm("10,000 pairs of words and no new words", grow=(0, 10_000)),
    },
    "Loss": {
        "one-level": Arm("full dimension alone, no Matryoshka levels", whole=True),
        "both-directions": Arm("from positives to anchors too", recipe={"both_directions": True}),
        "scale-10": Arm("scale 10 (default 20)", recipe={"scale": 10.0}),
        "scale-40": Arm("scale 40", recipe={"scale": 40.0}),
        "unmasked": Arm("known positives of an anchor are negatives too", masked=False),
        "margin-0": Arm("candidates closer than the positive are no negatives",
            recipe={"false_negative_margin": 0.0}),
        "margin-0.1": Arm("candidates closer by 0.1 are none", recipe={"false_negative_margin": 0.1}),
    },
    "Steps": {
        "batch-256": Arm("batch 256 (default 1,024, 512 of medquad)", recipe={"batch": 256}),
        "batch-2048": Arm("batch 2,048", recipe={"batch": 2048}),
        "epochs-1": Arm("1 epoch (default 3)", recipe={"epochs": 1}),
        "epochs-5": Arm("5 epochs", recipe={"epochs": 5}),
        "epochs-9": Arm("9 epochs", recipe={"epochs": 9}),
        "epochs-18": Arm("18 epochs", recipe={"epochs": 18}),
        "epochs-36": Arm("36 epochs", recipe={"epochs": 36}, slow=True),
        "cosine": Arm("the rate falls as a cosine", recipe={"schedule": "cosine"}),
        "dropout-0.1": Arm("token dropout 0.1", recipe={"token_dropout": 0.1}),
        "dropout-0.3": Arm("token dropout 0.3", recipe={"token_dropout": 0.3}),
        "decay-0.03": Arm("weight decay 0.03", recipe={"weight_decay": 0.03}),
    },
    "Hard negatives": {
        "hard-1-once": _hard("1 of each pair, mined once at the start", every=3),
        "hard-1": _hard("1 of each pair, mined before every epoch"),
        "hard-3": _hard("3 of each pair, mined once", 3, every=3),
        "hard-1-no-margin": _hard("1, mined once, no margin to the positive", every=3,
            guard={"margin": None}),
        "hard-1-margin-0.2": _hard("1, mined once, at least 20 % below the positive (default 5 %)", every=3,
            guard={"margin": 0.2}),
        "hard-1-random-20": _hard("1, mined once, any of the 20 closest (default the closest)", every=3,
            guard={"sampling": "random"}),
        "hard-1-teacher": _hard("1, mined once by the teacher", every=3, miner="teacher", slow=True),
    },
    "Hard negatives at equal time": {
        "usual": _usual("300 steps, 3 to 18 epochs: the package's default", rates=(0.05, 0.1)),
        "usual-hard-1": _usual("the same, 1 negative of each pair mined once at the start", 1),
        "usual-hard-3": _usual("the same, 3 of each pair", 3),
        "usual-hard-1-time": _usual("no negatives, as many epochs as the time of usual-hard-1 buys",
            time_of="usual-hard-1"),
    },
    "Distillation": {
        "distil-pairs-5": _distil("beside the pairs, the teacher's vectors of their own texts, weight 5",
            "pairs", 0, distil_weight=5.0),
        "distil-pairs-20": _distil("the same, weight 20 (the default of --distil)", "pairs", 0,
            distil_weight=20.0),
        "distil-pairs-80": _distil("the same, weight 80", "pairs", 0, distil_weight=80.0),
        "distil-sentences-5": _distil(f"the teacher's vectors of {TEXTS:,} sentences, weight 5", "sentences",
            TEXTS, distil_weight=5.0),
        "distil-sentences-20": _distil(f"the teacher's vectors of {TEXTS:,} sentences, weight 20",
            "sentences", TEXTS, distil_weight=20.0),
        "distil-sentences-80": _distil("the same, weight 80", "sentences", TEXTS, distil_weight=80.0),
        "margin-mse": _hard(
            "MarginMSE instead of the contrastive loss: 3 negatives mined by the teacher, its scores", 3,
            every=3,
            loss="margin-mse", miner="teacher", slow=True, rates=(0.05, 0.1),
        ),
        "kl": _hard(
            "KL instead: the same negatives and scores", 3, every=3, loss="kl", miner="teacher", slow=True,
            rates=(0.05, 0.1)
        ),
    },
    "Shaping": {
        "soup-3": Arm("mean of three trainings (three times the time; compare 9 epochs)", shape="soup",
            shape_with=3),
        "tail-0.25": Arm("mean over the last quarter of the steps", shape="tail", shape_with=0.25),
        "tail-constant": Arm(
            "the same at a constant rate", shape="tail", shape_with=0.25, recipe={"schedule": "constant"}
        ),
        "weights-0.1": Arm("a learned weight of each token, 0.1 times the rate", shape="weights",
            shape_with=0.1),
        "weights-1": Arm("the same, at the rate", shape="weights", shape_with=1),
        "no-mean": Arm("the texts' mean taken out afterwards", shape="common", shape_with=0),
        "no-common-1": Arm("mean and first common direction taken out", shape="common", shape_with=1),
        "no-common-3": Arm("mean and three directions taken out", shape="common", shape_with=3),
    },
}  # fmt: skip

ROWS = {name: arm for group in GROUPS.values() for name, arm in group.items()}
