"""Tiny sentence transformers, made on the spot."""

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def tiny_bert(folder, words, pooling="mean", seed=0):
    """A BERT of one layer and 32 dimensions with random weights, whose tokens are ``words``, saved into ``folder``."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate([*special, *words])}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.BertTokenizerFast(tokenizer_object=backend, model_max_length=64)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(special) + len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
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
