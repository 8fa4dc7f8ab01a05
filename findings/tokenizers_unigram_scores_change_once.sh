#!/usr/bin/env bash
# tokenizers 0.23.3: the scores of a Unigram model that was just trained change when it is written and read back for the first time
# (the last bit of many of them), and never again. So the hash of a fresh tokenizer's JSON is not the hash of its saved copy,
# although nobody changed anything: write and read once before hashing, or before comparing scores for equality.
#
# Seen, for 1,971 tokens:
#   scores that differ after the first round trip: 358 (387 in another run)
#   after the second: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'P'
import json
import random

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

print("tokenizers", tokenizers.__version__)
random.seed(0)
words = ["".join(random.choice("abcdefgh") for _ in range(random.randint(2, 8))) for _ in range(3000)]
texts = [" ".join(random.choice(words) for _ in range(8)) for _ in range(2000)]
fresh = Tokenizer(models.Unigram())
fresh.pre_tokenizer = pre_tokenizers.Whitespace()
trainer = trainers.UnigramTrainer(vocab_size=2000, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
fresh.train_from_iterator(texts, trainer)


def scores(tokenizer):
    return [score for _, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


once = Tokenizer.from_str(fresh.to_str())
twice = Tokenizer.from_str(once.to_str())
first = sum(a != b for a, b in zip(scores(fresh), scores(once), strict=True))
second = sum(a != b for a, b in zip(scores(once), scores(twice), strict=True))
print("tokens:", len(scores(fresh)))
print("scores that differ after the first round trip:", first)
print("after the second:", second)
assert first > 0 and second == 0
P
