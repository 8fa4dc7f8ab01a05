#!/usr/bin/env bash
# sentence-transformers 6.2.0: `encode_document` looks for a prompt called "document", then "passage", then "corpus"; but a model's
# `prompts` always has a "document", an empty one where none was given, so a prompt called "passage" is never taken. A model whose
# configuration has "query" and "passage" prompts, as several retrieval models name them, encodes documents without any.
#
# Seen, for prompts={"query": "", "passage": "passage: "} and one-hot tokens (<unk>, passage, :, river, boat):
#   prompts: {'query': '', 'document': '', 'passage': 'passage: '}
#   encode_document("river"): [0.0, 0.0, 0.0, 1.0, 0.0]
#   encode("river", prompt_name="passage"): [0.0, 0.333, 0.333, 0.333, 0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install -q --disable-pip-version-check sentence-transformers==6.2.0 transformers==5.23.0
"$folder/venv/bin/python" -W ignore - <<'P'
import numpy as np
import sentence_transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

print("sentence-transformers", sentence_transformers.__version__)
words = ["<unk>", "passage", ":", "river", "boat"]
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
module = StaticEmbedding(tokenizer, embedding_weights=np.eye(len(words), dtype=np.float32))
model = SentenceTransformer(modules=[module], prompts={"query": "", "passage": "passage: "}, device="cpu")
document = model.encode_document("river").round(3).tolist()
named = model.encode("river", prompt_name="passage").round(3).tolist()
print("prompts:", model.prompts)
print('encode_document("river"):', document)
print('encode("river", prompt_name="passage"):', named)
assert model.prompts["document"] == "" and document != named and document[1] == 0
P
