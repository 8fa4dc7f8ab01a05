"""Teacher: a sentence transformer, to start a static model from and to compare it with.

The model runs as sentence-transformers runs it: its own modules, prompts and truncation. What differs is the
batching. Texts go in batches of similar length in tokens, one thread per batch (small matrices gain nothing
from sharing), in bfloat16 where the processor multiplies it natively and the vectors stay the same to a
cosine of 0.9999.
"""

import functools
import hashlib
import importlib.metadata
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from statim import cache as caches
from statim import threads as pool
from statim.digests import check_seal, seal
from statim.errors import InputError, ModelError
from statim.files import read_json, write_json
from statim.progress import Progress
from statim.teacher.folder import DEFAULT_TEACHER, is_transformer, resolve_teacher
from statim.teacher.loading import loaded, quick_bfloat16
from statim.teacher.memory import content_hash, keep_vectors, kept_vectors, vectors_path
from statim.texts import Texts

BATCH_TOKENS = 2048  # with padding; for one thread
MOST_TEXTS = 512  # in a batch
SAME = 0.9999  # the least cosine between a vector in bfloat16 and the same in float32
PROBE = (
    "sort a list in place",
    "What is the capital of France?",
    "Return True if the path points to a regular file, False if it points to another kind of file.",
    "1, 2, 3, ... 99 (figures & signs)",
    "The quick brown fox jumps over the lazy dog, and the dog, who has seen this many times, does not move.",
    "données, Grüße, 漢字",
    "x",
    "",
)

# What a text is -> names of the prompts that a model may have for it, as sentence-transformers looks for
# them; and the task
ROLES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "text": ((), None),
    "query": (("query",), "query"),
    "document": (("document", "passage", "corpus"), "document"),
}

# What is remembered of a teacher, so that it need not be loaded where all that is asked of it is cached
ABOUT = {
    "dim": int,
    "tokenizer": str,
    "prompts": dict,
    "prompt": str | None,
    "most": int | None,
    "bfloat16": bool,
}
PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")  # it depends on their versions

Floats = npt.NDArray[np.float32]


class Teacher:
    """A sentence transformer; make one with ``load``.

    Attributes:
        name: What it was asked for by.
        folder: Where it lies.
        dim: Dimensions of its vectors, d.
        spared: Seconds of computing that cached vectors have saved so far.
    """

    def __init__(self, model: Any | None, name: str, folder: Path, device: str = "cpu") -> None:
        self.name, self.folder, self.device = name, folder, device
        self.spared = 0.0
        if model is not None:
            self._model = model
        known = self._known() if model is None else None
        self._about = known or self._learn()
        self.dim = int(self._about["dim"])
        if model is None and known is None:
            with caches.writing():
                write_json(self._about_path, seal(self._about))

    @staticmethod
    def load(name: str | Path = DEFAULT_TEACHER, *, device: str = "cpu") -> "Teacher":
        """Load a sentence transformer, or a plain transformer with mean pooling.

        Args:
            name: A folder or a name on the hub; see ``resolve_teacher``.
            device: Where it runs, as torch names devices.

        Raises:
            ModelError: There is no transformer there, not a whole one, or none with a fast tokenizer.
            DependencyError: sentence-transformers is not installed.
        """
        folder = resolve_teacher(name)
        if not is_transformer(folder):
            raise ModelError(
                f"{folder} holds no transformer that could be a teacher; name the folder of a sentence "
                "transformer"
            )
        if not any(folder.rglob("*.safetensors")):
            raise ModelError(
                f"{folder} has no weights in the safetensors format (no other is read); copy or "
                "convert it again"
            )
        return Teacher(None, str(name), folder, device)

    def __repr__(self) -> str:
        return f"Teacher({self.name!r}, {self.dim} dimensions)"

    @property
    def transformer(self) -> Any:
        """The SentenceTransformer itself.

        Who changes its weights must not encode with this teacher afterwards: vectors are cached.
        """
        return self._model

    @functools.cached_property
    def hash(self) -> str:
        """A hash of weights, tokenizer and configuration: the same for the same content anywhere."""
        return content_hash(self.folder)

    @functools.cached_property
    def _model(self) -> Any:
        """The SentenceTransformer, loaded when it is first needed."""
        return loaded(self.folder, self.device)

    @functools.cached_property
    def _about_path(self) -> Path:
        from statim.kernels.floats import FAST_BFLOAT16

        versions = []
        for package in PACKAGES:
            try:
                versions.append(importlib.metadata.version(package))
            except importlib.metadata.PackageNotFoundError:
                versions.append("missing")
        decisive = f"{self.hash} {self.device} {versions} {FAST_BFLOAT16}"
        return caches.folder("teachers") / f"{hashlib.sha256(decisive.encode()).hexdigest()[:32]}.json"

    def _known(self) -> dict[str, Any] | None:
        """What was learned of this teacher before, if it was."""
        try:
            about = read_json(self._about_path)
            if isinstance(about, dict):
                check_seal(about, self._about_path, "delete it")
        except ModelError:
            return None  # a damaged cache is no error
        whole = isinstance(about, dict) and all(
            isinstance(about.get(name), kind) for name, kind in ABOUT.items()
        )
        return about if whole else None

    def _learn(self) -> dict[str, Any]:
        """What the model says of itself, see ABOUT."""
        copy = tokenizers.Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        with pool.one_torch_thread():
            probe = self._forward(self._features(PROBE), bfloat16=False)
        return {
            "dim": int(probe.shape[1]),
            "tokenizer": copy.to_str(),
            "prompts": dict(self._model.prompts or {}),
            "prompt": self._model.default_prompt_name,
            "most": self._model.max_seq_length,
            "bfloat16": self._bears_bfloat16(probe),
        }

    @functools.cached_property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """A copy of its tokenizer, without truncation and padding."""
        return tokenizers.Tokenizer.from_str(self._about["tokenizer"])

    @property
    def prompts(self) -> dict[str, str]:
        """Its named prompts."""
        return dict(self._about["prompts"])

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        cache: bool = True,
        progress: bool = False,
        threads: int | None = None,
        prompt: str | None = None,
    ) -> Floats:
        """Turn texts into vectors of length 1.

        Args:
            texts: One str; or a list, an Arrow or numpy array, or any iterable of str.
            cache: Keep the vectors on disk, and take them from there the next time.
            progress: Show a progress bar on a terminal.
            threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand. Vectors do
                not depend on it.
            prompt: Text put before each text; None takes the model's default prompt, where it has one.

        Returns:
            (n, d) float32, or (d,) for one str.

        Raises:
            InputError: A text is not a str; the message names its position.
        """
        return self._encode(texts, "text", prompt, cache=cache, progress=progress, threads=threads)

    def encode_query(
        self,
        texts: str | Iterable[str],
        *,
        cache: bool = True,
        progress: bool = False,
        threads: int | None = None,
        prompt: str | None = None,
    ) -> Floats:
        """``encode`` with ``prompt``, or else the model's prompt for queries, where it has one."""
        return self._encode(texts, "query", prompt, cache=cache, progress=progress, threads=threads)

    def encode_document(
        self,
        texts: str | Iterable[str],
        *,
        cache: bool = True,
        progress: bool = False,
        threads: int | None = None,
        prompt: str | None = None,
    ) -> Floats:
        """``encode`` with ``prompt``, or else the model's prompt for documents, where it has one."""
        return self._encode(texts, "document", prompt, cache=cache, progress=progress, threads=threads)

    def embed_tokens(
        self, token_ids: npt.ArrayLike, *, progress: bool = False, threads: int | None = None
    ) -> Floats:
        """What the teacher makes of single tokens: the vector of the input [CLS] token [SEP], not normalised.

        That is how model2vec distils (van Dongen & Tulkens, 2024), except that the tokens are pooled in the
        teacher's own way (model2vec takes their mean by default, which is also the way of all-MiniLM-L6-v2).
        Always in float32.

        Args:
            token_ids: (n,) ids of the teacher's tokenizer.
            progress: Show a progress bar on a terminal.
            threads: Threads to use.

        Returns:
            (n, d) float32.

        Raises:
            InputError: An id is not one of the teacher's tokens.
            ModelError: The teacher is several models in one, or no plain transformer.
        """
        import torch

        if not hasattr(self._model[0], "auto_model"):
            raise ModelError(
                f"{self.folder} does not begin with one transformer, so it has no vectors of tokens; "
                "choose another"
            )
        ids = np.asarray(token_ids)
        size = int(self._model[0].auto_model.get_input_embeddings().weight.shape[0])
        if ids.ndim != 1 or (ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= size)):
            raise InputError(
                f"the token ids must be a list of whole numbers from 0 to {size - 1}, the teacher's"
            )
        before, after = self._frame()
        inputs = np.empty((len(ids), len(before) + 1 + len(after)), np.int64)
        inputs[:, : len(before)], inputs[:, len(before)], inputs[:, len(before) + 1 :] = before, ids, after

        def batches() -> Iterator[tuple[npt.NDArray[np.int64], dict[str, Any]]]:
            for start in range(0, len(ids), MOST_TEXTS):
                rows = torch.from_numpy(inputs[start : start + MOST_TEXTS])
                places = np.arange(start, start + len(rows))
                yield places, {"input_ids": rows, "attention_mask": torch.ones_like(rows)}

        with Progress("embed tokens", total=len(ids), unit="tokens", show=progress) as bar:
            return self._run(batches(), len(ids), False, bar, threads, normalize=False)

    def _frame(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a text."""
        bare = self.tokenizer.encode("a", add_special_tokens=False).ids
        full = self.tokenizer.encode("a").ids
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        return full[:start], full[start + len(bare) :]

    def _encode(
        self,
        texts: str | Iterable[str],
        role: str,
        given: str | None,
        *,
        cache: bool,
        progress: bool,
        threads: int | None,
    ) -> Floats:
        listed = [text for _, chunk in Texts.of(texts).chunks(10_000) for text in chunk]
        for position, text in enumerate(listed):
            if not isinstance(text, str):
                raise InputError(f"text {position} is of type {type(text).__name__}, not str")
        prompt, task = self._prompt(role, given)
        path = vectors_path(listed, self.key(role, given)) if cache and listed else None
        found = kept_vectors(path, (len(listed), self.dim)) if path else None
        if found is not None:
            vectors, seconds = found
            self.spared += seconds
        else:
            started = time.perf_counter()
            with Progress("encode with the teacher", total=len(listed), unit="texts", show=progress) as bar:
                vectors = self._run(
                    self._batches(listed, prompt, task), len(listed), self._bfloat16, bar, threads
                )
            if path:
                keep_vectors(path, vectors, self.name, time.perf_counter() - started)
        return vectors[0] if isinstance(texts, str) else vectors

    def _prompt(self, role: str, given: str | None) -> tuple[str | None, str | None]:
        """The prompt of a role's texts (given or the model's own), and the task they are for."""
        names, task = ROLES[role]
        if given is not None:
            return given or None, task
        known = self._about["prompts"]
        name = next((name for name in names if name in known), self._about["prompt"])
        return known.get(name) or None, task

    def key(self, role: str, given: str | None = None) -> str:
        """A hash of all that decides the vectors of a role, one of ROLES, under a given or own prompt."""
        prompt, task = self._prompt(role, given)
        about = f"{self.hash} {prompt!r} {task} {self._bfloat16} {self._about['most']}"
        return hashlib.sha256(about.encode()).hexdigest()

    def _batches(
        self, texts: list[str], prompt: str | None, task: str | None
    ) -> Iterator[tuple[npt.NDArray[np.int64], dict[str, Any]]]:
        """Batches of texts of similar length, longest first: their positions, and the model's input."""
        longest = self._model.max_seq_length or 512
        budget = BATCH_TOKENS if self._model.device.type == "cpu" else 16 * BATCH_TOKENS
        lengths = np.array([min(len(found), longest) for found in self.tokenizer.encode_batch_fast(texts)])
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            size = max(1, min(MOST_TEXTS, budget // max(1, int(lengths[order[start]]))))
            places = order[start : start + size]
            yield places, self._features([texts[place] for place in places], prompt, task)
            start += size

    def _features(
        self, texts: Sequence[str], prompt: str | None = None, task: str | None = None
    ) -> dict[str, Any]:
        """The model's input. Not for several threads at once: a tokenizer that pads is not."""
        options: dict[str, Any] = {"task": task} if task and self._has_router else {}
        return {**self._model.preprocess(list(texts), prompt=prompt, **options), **options}

    @functools.cached_property
    def _has_router(self) -> bool:
        return any(type(module).__name__ == "Router" for module in self._model)

    def _run(
        self,
        batches: Iterable[tuple[npt.NDArray[np.int64], dict[str, Any]]],
        count: int,
        bfloat16: bool,
        bar: Progress,
        threads: int | None,
        *,
        normalize: bool = True,
    ) -> Floats:
        """The vectors of ``count`` inputs, each batch on one thread."""
        import torch

        out = np.empty((count, self.dim), np.float32)
        on_cpu = self._model.device.type == "cpu"

        def work(batch: tuple[npt.NDArray[np.int64], dict[str, Any]]) -> int:
            places, features = batch
            if on_cpu:
                torch.set_num_threads(1)  # the threads are ours
            out[places] = self._forward(features, bfloat16=bfloat16, normalize=normalize)
            return len(places)

        with pool.one_torch_thread():
            for done in pool.stream(work, batches, pool.count(threads) if on_cpu else 1):
                bar.advance(done)
        return out

    def _forward(self, features: dict[str, Any], *, bfloat16: bool, normalize: bool = True) -> Floats:
        """The vectors of one batch; without normalization the model's own last module is skipped too."""
        import torch

        device = self._model.device
        state: Any = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        task = state.pop("task", None)
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
            for module in self._model:
                if normalize or type(module).__name__ != "Normalize":
                    state = (
                        module(state, task=task)
                        if task and type(module).__name__ == "Router"
                        else module(state)
                    )
            vectors = state["sentence_embedding"].float()
            if normalize:
                vectors = torch.nn.functional.normalize(vectors, dim=1)
        found: Floats = vectors.cpu().numpy()
        return found

    @functools.cached_property
    def _bfloat16(self) -> bool:
        """Is bfloat16 quick here, and exact enough for this model?"""
        return bool(self._about["bfloat16"])

    def _bears_bfloat16(self, probe: Floats) -> bool:
        """Whether bfloat16 is quick, and gives PROBE the vectors (n, d) that float32 gives."""
        if not quick_bfloat16(self._model.device.type):
            return False
        with pool.one_torch_thread():
            cosines = (self._forward(self._features(PROBE), bfloat16=True) * probe).sum(axis=1)
        return bool(cosines.min() >= SAME)
