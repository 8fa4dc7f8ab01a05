"""Folders that statim, sentence-transformers and model2vec load alike; and those that the other two wrote.

    model.safetensors                   ``embeddings``, a row per token id: float32, float16, or int8 with
                                        ``weights`` for each row (of float16, ones)
    tokenizer.json                      without padding; truncation only if the model has a max_tokens
    config.json                         for model2vec; ``statim`` has settings, the format's version, sizes
                                        and digests of the other files, but of README.md
    modules.json, 1_Normalize/          for sentence-transformers
    config_sentence_transformers.json   prompts
    README.md                           the model card

The table file carries the mark of statim too: where another library has saved the model again, the mark is
gone, and the folder is read as that library's.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from statim import __version__
from statim.digests import Verify, check_seal, seal, stamps, verify
from statim.errors import ModelError
from statim.files import atomic_directory, hash_file, read_json, write_json
from statim.formats import card as cards
from statim.formats import from_model2vec, from_sentence_transformers
from statim.formats import table as tables
from statim.formats.parts import Parts
from statim.settings import SearchSettings, Settings
from statim.tensors import Array, map_file, mapped_file, save_tensors
from statim.threads import submit
from statim.tokenizer.tokenizer import Tokenizer

VERSION = 1
MARK = "statim_format_version"
LARGEST_TOKENIZER = 1 << 30  # bytes
READ = (
    "model.safetensors",
    "tokenizer.json",
    "modules.json",
)  # what decides the vectors; the rest is for others
REMEDY = "copy or download the model again, or train it again"

# The class paths that sentence-transformers has resolved since 3.2; it has read the key ``embeddings`` since
# 3.4.1
MODULES = (
    {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
    {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
)


def write(folder: Path, parts: Parts, *, card: str | None = None, overwrite: bool = False) -> None:
    """Write a model so that three libraries load it and give the same vectors.

    That holds for every model made here: it is normalised and its unknown token has a zero row, so that the
    direction does
    not depend on whether unknown tokens count. For others it holds as far as the libraries' ways allow:

    - drop_unknown: the unknown row, which never counts, is written as zeros. Where vectors are not
    normalised, those of
      sentence-transformers are shorter for texts with unknown tokens, since it counts them.
    - Unknown tokens that count and have a row of their own: model2vec drops them all the same.
    - max_tokens: stored for all three. model2vec also cuts characters, at max_tokens times the median length
    of a token.
    - max_characters: statim's, and model2vec's in models that came from it; sentence-transformers has no such
    thing.

    Args:
        folder: Where to; it appears at once and whole.
        parts: The model. Rows beyond the tokenizer's ids are left out.
        card: The text of README.md; a short one is written by default.
        overwrite: Replace a folder that has something in it.

    Raises:
        InputError: The folder is not empty and ``overwrite`` is off.
        StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
    """
    settings, tokenizer = parts.settings, parts.tokenizer
    prompts = dict(settings.prompts)
    with atomic_directory(folder, overwrite=overwrite) as new:
        save_tensors(new / "model.safetensors", _arrays(parts), {MARK: str(VERSION)})
        (new / "tokenizer.json").write_text(_tokenizer_json(parts), encoding="utf-8")
        write_json(new / "modules.json", MODULES[: 2 if settings.normalize else 1])
        if settings.normalize:
            (new / "1_Normalize").mkdir()
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(new / "1_Normalize" / "config.json", names)
        write_json(new / "config_sentence_transformers.json", {
            "__version__": {"statim": __version__},
            "model_type": "SentenceTransformer",
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        })  # fmt: skip
        if card is None:
            size, dim = tokenizer.vocabulary_size, parts.table.shape[1]
            card = cards.default(settings, tokens=size, dim=dim, version=__version__, but=_differences(parts))
        own = {
            "format_version": VERSION,
            "statim_version": __version__,
            **_plain(settings),
            "prompts": prompts,
        }
        write_json(new / "config.json", {
            "model_type": from_model2vec.MODEL_TYPE,  # by which other programs know how to load the folder
            "normalize": settings.normalize,
            "max_length": settings.max_tokens,
            "embedding_dtype": parts.table.dtype.name,
            "statim": seal({**own, "stamps": stamps(new)}),
        })  # fmt: skip
        (new / "README.md").write_text(
            card, encoding="utf-8", errors="backslashreplace"
        )  # to be edited by people


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A model whose files are open: what takes their place later does not change it.

    Attributes:
        folder: The folder, for messages.
        home: Where in it the table and the tokenizer are.
        stored: The table, memory-mapped.
        tokenizer: ``tokenizer.json``, memory-mapped.
        settings: How vectors are made, as the library that wrote the model has it.
        stamps: Size and digest of the files, where statim wrote them; see digests.verify.
    """

    folder: Path
    home: Path
    stored: tables.Stored
    tokenizer: bytes | mmap
    settings: Callable[[Tokenizer, str], Settings]
    stamps: dict[str, Any]

    def hashes(self) -> list[str]:
        """The SHA-256 of the files with the table and the tokenizer, in hexadecimal."""
        table = mapped_file(self.stored.table)
        whole = hash_file(self.stored.path) if table is None else hashlib.sha256(table).hexdigest()
        return [whole, hashlib.sha256(self.tokenizer).hexdigest()]

    def parts(self) -> Parts:
        """Make the model.

        Raises:
            ModelError: It is damaged, or its files belong to different models.
        """
        text = _text(self.home, self.tokenizer)
        tokenizer = _make_tokenizer(self.home, text, self.stored.tokens)
        settings = self.settings(tokenizer, text)
        try:
            table, scales = self.stored.rows(tokenizer.vocabulary_size)
            return Parts(table, tokenizer, settings, scales)
        except ModelError as error:
            raise ModelError(f"{self.folder}: {error}") from None


def read(folder: Path, level: Verify | None = None) -> Parts:
    """Read a folder that statim, sentence-transformers (a StaticEmbedding) or model2vec wrote.

    Models of other libraries keep their own ways: their vectors here equal those of the library that wrote
    them.

    Args:
        folder: Where it lies.
        level: How the files of statim's own models are checked; see digests.verify.

    Raises:
        ModelError: The folder holds no model, not a whole one, a damaged one, one that is not static, or one
            of a later format.
    """
    held = opened(folder, level)
    with ThreadPoolExecutor(1) as beside:  # hashing and the tokenizer's parser leave each other alone
        checking = submit(beside, verify, folder, held.stamps, level, REMEDY)
        try:
            parts = held.parts()
        except ModelError:
            checking.result()  # of two errors, that a file is damaged says more
            raise
        checking.result()
    return parts


def opened(folder: Path, level: Verify | None = None) -> Opened:
    """Open the files of a model, without making it, which takes longer.

    Only a model that statim wrote needs no others then.

    Raises:
        ModelError: As ``read``.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; name the folder of a model")
    config = _read_config(folder)
    own = config.get("statim")
    if own is not None:
        _check_version(folder, own)
        if level != "never":
            check_seal(own, folder / "config.json", REMEDY)
    modules = check_static(folder)
    home = folder if modules is None else from_sentence_transformers.module_folder(folder, modules[0])
    stored = tables.read(home)
    marked = MARK in stored.metadata
    if own is None and marked and "embedding_dtype" in config:
        raise ModelError(f"{folder / 'config.json'} is damaged: it lacks what statim wrote; {REMEDY}")
    found = {} if own is None else _stamps(folder, own, marked=marked)
    found = {name: stamp for name, stamp in found.items() if name in READ}
    tokenizer = _map_tokenizer(home)

    def settings(tokenizer: Tokenizer, tokenizer_json: str) -> Settings:
        if own is not None and marked:
            return _settings(folder, own)
        if stored.key == "embeddings" and (folder / "config.json").exists():
            return from_model2vec.read_settings(folder, tokenizer)
        if modules is not None:
            return from_sentence_transformers.read_settings(folder, modules, tokenizer_json)
        raise ModelError(
            f"{folder} has neither modules.json nor config.json, one of which says what model it "
            "holds; copy it again"
        )

    return Opened(folder, home, stored, tokenizer, settings, found)


def check_static(folder: Path) -> list[dict[str, Any]] | None:
    """The entries of modules.json, where there is one; looks at the small files only.

    Raises:
        ModelError: The small files are missing or malformed, or say that this is not a static model.
    """
    modules = from_sentence_transformers.read_modules(folder)
    if modules is not None:
        return modules
    config = _read_config(folder)
    if (
        not config
        and not (folder / "model.safetensors").exists()
        and not (folder / "pytorch_model.bin").exists()
    ):
        raise ModelError(
            f"{folder} holds no model: neither modules.json nor config.json nor model.safetensors is there"
        )
    names = config.get("architectures") or config.get("model_type")
    if names and not from_model2vec.is_written_here(config):
        name = str(names[0] if isinstance(names, list) else names)[:60]
        raise ModelError(
            f"{folder} is no static model: it holds a {name}; it can serve as a teacher instead "
            f"(--start {folder})"
        )
    return None


def _arrays(parts: Parts) -> dict[str, Array]:
    """The table as three libraries want it: as many rows as token ids, and none that must not count."""
    tokenizer, dropped = parts.tokenizer, parts.dropped
    table, scales = parts.table[: tokenizer.vocabulary_size], parts.scales
    if dropped is not None and table[dropped].any():
        table = table.copy()
        table[dropped] = 0
    arrays: dict[str, Array] = {"embeddings": table}
    if scales is not None:
        arrays["weights"] = scales[: len(table)].copy()
        if dropped is not None:
            arrays["weights"][dropped] = 0
    elif table.dtype == np.float16:
        # any weights make sentence-transformers compute in float32; in float16 it gives NaN for a text
        # without tokens
        arrays["weights"] = np.ones(len(table), np.float16)
    if len(tokenizer.vocabulary) != len(table):
        # Ids with gaps: model2vec wants a row for each token and no more, unless there is a mapping
        arrays["mapping"] = np.arange(len(table), dtype=np.int64)
    return arrays


def _tokenizer_json(parts: Parts) -> str:
    if parts.settings.max_tokens is None:
        return parts.tokenizer.to_json()
    backend = tokenizers.Tokenizer.from_str(parts.tokenizer.to_json())
    backend.enable_truncation(parts.settings.max_tokens)  # sentence-transformers knows no other limit
    return str(backend.to_str(pretty=False))


def _differences(parts: Parts) -> str:
    """What keeps the three libraries from giving the same vectors, in words for the card."""
    settings, unknown = parts.settings, parts.tokenizer.unknown_id
    said = []
    if unknown is not None and not settings.drop_unknown and parts.table[unknown].any():
        said.append("but for texts with unknown tokens, which model2vec drops")
    elif unknown is not None and not settings.normalize:
        counts = "sentence-transformers counts, model2vec does not"
        said.append(f"but for the length where a text has unknown tokens, which {counts}")
    if settings.max_tokens is not None or settings.max_characters is not None:
        said.append("but for long texts, which model2vec also cuts by characters")
    if parts.table.dtype == np.float16:
        said.append("but that model2vec computes in float16")
    return "; ".join(said)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = read_json(path) if path.exists() else {}
    if not isinstance(config, dict):
        raise ModelError(f"{path} does not hold a JSON object; restore the file or save the model again")
    return config


def _check_version(folder: Path, own: object) -> None:
    version = own.get("format_version") if isinstance(own, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ModelError(
            f"{folder / 'config.json'} has a statim entry without a format_version; save the model again"
        )
    if version > VERSION:
        raise ModelError(
            f"{folder} is written in format {version}, and this statim ({__version__}) reads formats "
            f"up to {VERSION}; "
            "upgrade statim (pip install --upgrade statim)"
        )


def stamps_of(folder: Path) -> dict[str, Any]:
    """Size and digest of a model's files from the config.json that statim wrote; none for other models."""
    own = _read_config(folder).get("statim")
    if not isinstance(own, dict):
        return {}
    check_seal(own, folder / "config.json", REMEDY)
    return _stamps(folder, own, marked=MARK in tables.read(folder).metadata)


def _stamps(folder: Path, own: dict[str, Any], *, marked: bool) -> dict[str, Any]:
    """The stamps of the files, unless another library has saved the model again, and with it the table.

    Raises:
        ModelError: They are damaged.
    """
    found = own.get("stamps", {})
    if not isinstance(found, dict) or not all(isinstance(stamp, dict) for stamp in found.values()):
        raise ModelError(f"{folder / 'config.json'} is damaged at stamps; {REMEDY}")
    size = found.get("model.safetensors", {}).get("size")
    return found if marked or size == (folder / "model.safetensors").stat().st_size else {}


def _map_tokenizer(folder: Path) -> bytes | mmap:
    path = folder / "tokenizer.json"
    try:
        if path.stat().st_size > LARGEST_TOKENIZER:
            raise ModelError(f"{path} has more than the {LARGEST_TOKENIZER:,} bytes such a file may have")
        return map_file(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the folder is not a whole model") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({str(error)[:100]}); copy it again") from None


def _text(folder: Path, content: bytes | mmap) -> str:
    try:
        return content[:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{folder / 'tokenizer.json'} cannot be read ({str(error)[:100]}); copy it again"
        ) from None


def _make_tokenizer(folder: Path, text: str, rows: int) -> Tokenizer:
    """The tokenizer, its ids checked: some libraries allocate a place for each up to the largest."""
    try:
        backend = tokenizers.Tokenizer.from_str(text)
        largest = max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= rows:
            raise ModelError(
                f"{folder}: the table has {rows:,} rows but the tokenizer gives ids up to {largest:,}; "
                "the two belong to different models"
            )
        found = Tokenizer(backend, copied=False)
        found.vocabulary_size = largest + 1  # which takes a while to find again
        return found
    except ModelError:
        raise
    except BaseException as error:
        # tokenizers raises bare Exception, and where it panics a BaseException that has no name to import
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"{folder / 'tokenizer.json'} does not describe a tokenizer ({str(error)[:200]}); restore "
            "the file"
        ) from None


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


VALID: dict[str, Callable[[Any], bool]] = {
    "normalize": lambda value: isinstance(value, bool),
    "drop_unknown": lambda value: isinstance(value, bool),
    "max_tokens": _is_limit,
    "max_characters": _is_limit,
    "prompts": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "language": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "base_model": lambda value: value is None or isinstance(value, str),
    "documents_by": lambda value: value is None or isinstance(value, str),
    "documents_hash": lambda value: value is None or isinstance(value, str),
    "search": lambda value: SearchSettings.read(value) is not None,
}


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings for JSON; what few models have is written for those alone."""
    values = dataclasses.asdict(settings)
    return {
        name: value
        for name, value in values.items()
        if value is not None or not name.startswith(("documents_", "search"))
    }


def _settings(folder: Path, own: dict[str, Any]) -> Settings:
    """Settings from config.json; what an older version did not write keeps its default."""
    values = {name: own[name] for name in VALID if name in own}
    for name, value in values.items():
        if not VALID[name](value):
            raise ModelError(
                f"{folder / 'config.json'}: the setting {name} is {json.dumps(value)[:80]}, which "
                "statim does not write; "
                "save the model again"
            )
    if "language" in values:
        values["language"] = tuple(values["language"])
    if "search" in values:
        values["search"] = SearchSettings.read(values["search"])
    return Settings(**values)
