"""A vocabulary learned for texts in any script, and what share of texts a tokenizer reads."""

import subprocess
import sys
import unicodedata

import pyarrow as pa
import pytest

from statim.errors import DataError, InputError
from statim.tokenizer.tokenizer import PROBE, Tokenizer
from statim.vocabulary import learn_unigram
from statim.vocabulary.characters import with_marks
from statim.vocabulary.coverage import coverage, is_marked, marked_share

TEXTS = {
    "ja": ["バスで駅へ行く", "パスを忘れた", "ハードを交換する", "ハートの絵を描く"],
    "th": ["ไฟล์ถูกเขียนลงในโฟลเดอร์", "เปิดไฟล์ไม่ได้", "ลบโฟลเดอร์แล้ว", "ไม้และไม่"],
    "hi": ["मेल आ गया", "मल का रंग", "कल मिलते हैं", "नया मेल भेजो"],
    "de": ["das ist schon fertig", "ein schöner Tag, sehr schön", "was war das", "wer will die Tür öffnen"],
}


def column(texts):
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module", params=TEXTS)
def learned(request):
    texts = [f"{text} {number % 7}" for number in range(10) for text in TEXTS[request.param]]
    return texts, learn_unigram([column(texts)])


def test_nothing_is_unknown(learned):
    texts, tokenizer = learned
    given = [*texts, *PROBE, "\U0001f600 \ua66e ﷽", "คำที่ไม่เคยเห็น"]
    tokens = tokenizer(given)
    assert tokenizer.unknown_id not in tokens.ids
    for text, ids in zip(texts, tokens, strict=False):
        names = [tokenizer.backend.id_to_token(number) for number in ids]
        assert "".join(names) == unicodedata.normalize("NFKC", text).lower().replace(" ", "")


def test_words_are_remembered_exactly(learned):
    texts, tokenizer = learned
    assert tokenizer.is_remembering
    given = [*texts, *PROBE] * 20
    assert tokenizer(given) == tokenizer._flat(given, None, 1)


def test_frequent_parts_become_tokens_and_rare_ones_do_not():
    texts = ["索引写入文件夹"] * 30 + ["列出目录内容"] * 3 + ["Linuxでデータ"] * 25
    tokens = [
        learn_unigram([column(texts)]).backend.encode(text).tokens for text in ("索引文件夹", "目录", "linux")
    ]
    assert max(map(len, tokens[0])) in (2, 3)
    assert tokens[1:] == [["目", "录"], ["linux"]]


def test_the_same_vocabulary_in_every_process():
    code = (
        "import pyarrow as pa; from statim.vocabulary import learn_unigram;"
        f"print(learn_unigram([pa.array({TEXTS['ja'] * 30!r}, pa.large_string())]).hash)"
    )
    seen = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in "ab"}
    assert seen == {learn_unigram([column(TEXTS["ja"] * 30)]).hash + "\n"}


def test_white_space_is_no_vocabulary():
    with pytest.raises(DataError, match="the texts have no words"):
        learn_unigram([column(["  ", "\n"])])


def test_coverage(minilm):
    tokenizer = Tokenizer(minilm)
    english, thai = column(["sort a list in place"] * 3), column(["เปิดไฟล์"] * 3)
    found = coverage(tokenizer, [english, thai])
    assert (found.unknown, found.spelled) == (1.0, 0.0)
    assert coverage(tokenizer, [english]).unread == 0
    # 5 and 3 letters, each cut into single ones; the digits are no word of several
    assert coverage(tokenizer, [column(["книги чай 1"])]).spelled == pytest.approx(8 / 9)
    assert coverage(tokenizer, []).unread == 0


def test_marked_words():
    assert [word for word in ("café", "мой", "ไม่", "バス", "मेल", "中文", "list", "мои", "naive", "ß")
            if is_marked(word)] == ["café", "мой", "ไม่", "バス", "मेल", "中文"]  # fmt: skip
    assert marked_share([column(["a café", "a bar"]), column(["a b c d"])]) == 0.25


def test_marks_are_kept_and_missing_letters_get_tokens(minilm):
    tokenizer = Tokenizer(minilm)
    marked = with_marks(tokenizer, [column(TEXTS["de"] * 5)])
    assert tokenizer.strips_accents
    assert not marked.tokenizer.strips_accents
    assert {"ö", "ü"} == set(marked.new)
    assert marked.tokenizer.vocabulary_size == 30522 + len(marked.new)
    first, second, apart = marked.tokenizer(["schon", "schön", "scho\u0308n"])
    assert first.tolist() != second.tolist() == apart.tolist()
    assert tokenizer.unknown_id not in marked.tokenizer(TEXTS["de"]).ids
    plain = ["sort a list in place", "Hello, world!"]
    assert marked.tokenizer(plain) == tokenizer(plain)
    assert marked.tokenizer.is_fast
    with pytest.raises(InputError, match="cannot be told to keep accents"):
        with_marks(learn_unigram([column(TEXTS["de"] * 5)]), [])
