#!/usr/bin/env bash
# PyStemmer 3.1.0 (Snowball): the German stemmer takes the dots from umlauts after it has used them, so pairs of different words
# have one stem: schon (already) and schön (beautiful), fordern (demand) and fördern (support), drucken (print) and drücken (press).
# A lexical search by these stems finds each for the other. One would expect that a stemmer made for German keeps apart what its
# own vowels tell apart, as it does with other words that differ by a vowel.
#
# Seen:
#   schon schön: schon schon
#   fordern fördern: ford ford
#   drucken drücken: druck druck
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pystemmer==3.1.0
PYTHONIOENCODING=utf-8 "$folder/venv/bin/python" - <<'P'
import Stemmer

print("PyStemmer", Stemmer.version())
stem = Stemmer.Stemmer("german").stemWord
pairs = [("schon", "schön"), ("fordern", "fördern"), ("drucken", "drücken")]
for first, second in pairs:
    print(f"{first} {second}: {stem(first)} {stem(second)}")
assert [stem(word) for pair in pairs for word in pair] == ["schon", "schon", "ford", "ford", "druck", "druck"]
P
