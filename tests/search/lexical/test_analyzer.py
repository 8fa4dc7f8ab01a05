"""What counts as a word of BM25, by language."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statim import StaticModel
from statim.errors import InputError, ModelError
from statim.search.index import Index
from statim.search.lexical.analyzer import LANGUAGES, Analyzer, analyzer_of, check_language, detect
from statim.search.lexical.bm25 import BM25
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary.characters import with_marks

ENGLISH = "The index is written to a folder, and the folder is moved into its place when it is whole."
GERMAN = "Der Index wird in einen Ordner geschrieben, und der Ordner kommt an seinen Platz, wenn er ganz ist."
FRENCH = "L'index est écrit dans un dossier, et le dossier est mis à sa place quand il est entier."
RUSSIAN = "Индекс пишется в папку, и эта папка ставится на своё место, когда она готова."
JAPANESE = "バスで駅へ行く。忘れ物をした。"
CHINESE = "索引写入文件夹，然后移动到它的位置。"
KOREAN = "색인은 폴더에 기록되고 제자리로 옮겨진다."
THAI = "ดัชนีถูกเขียนลงในโฟลเดอร์"
HINDI = "मेल आ गया और कल मिलते हैं"


@pytest.mark.parametrize(
    ("text", "language"),
    [(ENGLISH, "en"), (GERMAN, "de"), (FRENCH, "fr"), (RUSSIAN, "ru"), (JAPANESE, "ja"), (CHINESE, "zh"),
        (KOREAN, "ko"), (THAI, "th"),
     (HINDI, "hi"), ("zlib gzip bz2 lzma", "und"), ("", "und"), ("12 34 56", "und")],
)  # fmt: skip
def test_a_language_is_detected(text, language):
    assert detect([text] * 3) == language


def test_two_languages_at_once_are_neither():
    assert detect([ENGLISH, GERMAN] * 10) in ("en", "de", "und")
    assert detect(["le la les et est dans un une", "the and is in a it to of"]) == "und"


@pytest.mark.parametrize(
    ("written", "terms"),
    [("C++ and C#", ["c++", "and", "c#"]), ("the .NET runtime", ["the", ".net", "net", "runtime"]),
        ("version 2.6", ["version", "2.6"]),
     ("file_name", ["file_name", "file", "name"]), ("camelCase", ["camelcase", "camel", "case"]),
     ("HTTPServer", ["httpserver", "http", "server"]),
     ("don't", ["don"]), ("l'eau", ["eau"]), ("R", ["r"]), ("a.b", ["a.b", "a", "b"]),
     ("end. Next", ["end", "next"]), ("issue #12", ["issue", "12"]),
     ("naïve café", ["naïve", "café"]), ("ﬁle", ["file"]), ("…", [])],
)  # fmt: skip
def test_words_without_a_language(written, terms):
    assert Analyzer("und").terms(written) == terms


def test_marks_tell_words_apart():
    for first, second in (("バス", "パス"), ("ハード", "ハート"), ("मेल", "मल"), ("мой", "мои"), ("ไม้", "ไม")):
        apart = [set(Analyzer("und").query_terms(word)) for word in (first, second)]
        assert apart[0] != apart[1]
    assert Analyzer("hi").terms("मेल") == Analyzer("hi").query_terms("मेल")
    assert len(Analyzer("und").terms("मेल")) == 1  # its vowel sign does not cut it


def test_unspaced_scripts_are_pairs():
    assert Analyzer("ja").query_terms("忘れ物") == ["忘れ", "れ物"]
    assert Analyzer("ja").terms("忘れ物") == ["忘れ", "れ物", "忘", "物"]
    assert Analyzer("zh").query_terms("駅") == ["駅"]
    assert Analyzer("en").query_terms("learn 日本語 now") == ["learn", "日本", "本語", "now"]


def test_stemmers_are_snowballs():
    import Stemmer

    words = ["sorting", "sorted", "lists", "listing", "documents"]
    assert Analyzer("en").terms(" ".join(words)) == Stemmer.Stemmer("english").stemWords(words)
    assert Analyzer("de").terms("Häuser") == Analyzer("de").terms("Haus")
    assert Analyzer("tr").terms("ISPARTA")[0][0] == "ı"


def test_stop_words_count_where_a_query_has_nothing_else():
    assert Analyzer("en").query_terms("how to sort the list") == Analyzer("en").terms("how sort list")
    assert Analyzer("en").query_terms("to be or not to be") == ["to", "be", "or", "not", "to", "be"]
    assert Analyzer("en").query_terms("the") == ["the"]
    index = BM25.build([GERMAN, "was war das", "die Tür"], language="de")
    assert index.search(["was"], 1)[1].tolist() == [[1]]


@pytest.mark.parametrize(
    ("documents", "query"),
    [(["バスで駅へ行く", "パスを忘れた"], "駅"), (["パスを忘れた", "ハートの絵を描く"], "忘れ"),
     (["чай и кофе", "это мой дом"], "и"),
     (["नया मेल भेजो", "कल मिलते हैं"], "नया"), (["a tutorial of C++", "the C language"], "c++"),
     (["read file_name", "a name"], "file name")],
)  # fmt: skip
def test_the_document_is_found(tmp_path, model, documents, query):
    index = Index.build(model, documents, tmp_path / "i")
    assert index.search(query, k=1, mode="bm25")[0].text == documents[0]
    index.add(["zzz"], ids=["new"])
    assert Index.load(tmp_path / "i").search(query, k=1, mode="bm25")[0].text == documents[0]


def test_an_index_keeps_its_language(tmp_path, model):
    Index.build(model, [GERMAN, "Die Häuser"], tmp_path / "i")
    index = Index.load(tmp_path / "i")
    assert index.info()["language"] == "de"
    index.add([ENGLISH] * 9, ids=[f"n{i}" for i in range(9)])
    assert Index.load(tmp_path / "i").info()["language"] == "de"
    assert index.search("Haus", k=1, mode="bm25")[0].text == "Die Häuser"
    asked = Index.build(model, [GERMAN], tmp_path / "j", language="fi")
    assert asked.info()["language"] == "fi"


def test_odd_languages(tmp_path, model):
    for language in ("deutsch", "xx", "", None):
        with pytest.raises(InputError, match=r"language is .*; it must be auto, or one of"):
            Index.build(model, ["a"], tmp_path / "i", language=language)
    assert not (tmp_path / "i").exists()
    for language in LANGUAGES:
        check_language(language)
        assert analyzer_of(language, []).language == language
    with pytest.raises(ModelError, match="which this version does not know"):
        Analyzer.from_about({"language": "new", "stop_words": []}, "i")
    with pytest.raises(ModelError, match="stop words are no list"):
        Analyzer.from_about({"language": "en", "stop_words": 1}, "i")
    assert Analyzer.from_about({"stop_words": ["the"]}, "i").terms("The a list") == ["list"]


@given(st.text(), st.sampled_from(["en", "ja", "und", "tr"]))
def test_any_text(text, language):
    """A document's terms hold all that the same query asks for, and its normal form has the same ones."""
    analyzer = Analyzer(language)
    terms = analyzer.terms(text)
    assert set(analyzer.query_terms(text)) <= set(terms)
    assert all(terms)
    assert analyzer.terms(unicodedata.normalize("NFKC", text)) == terms


def test_accents_count_as_the_model_has_it(minilm, tmp_path):
    """`securite reseau` finds `sécurité réseau` by vectors and by words, or by neither."""
    texts = ["sécurité réseau", "base de données", "мой дом", "バス停"]
    for stripped in (True, False):
        tokenizer = (
            Tokenizer(minilm) if stripped else with_marks(Tokenizer(minilm), [pa.array(texts * 5)]).tokenizer
        )
        table = np.random.default_rng(0).standard_normal((tokenizer.vocabulary_size, 16)).astype(np.float32)
        index = Index.build(StaticModel(table, tokenizer), texts, tmp_path / str(stripped), language="fr")
        for opened in (index, Index.load(tmp_path / str(stripped))):
            found = [[hit.text for hit in opened.search(query, mode="bm25")] for query in
                     ("securite reseau", "sécurité", "мои", "ハス", "バス")]  # fmt: skip
            assert found == [texts[:1] * stripped, texts[:1], texts[2:3] * stripped, [], texts[3:]]
            assert (opened.search("securite reseau", k=1, mode="vector")[0].score > 0.999) == stripped


def test_an_analyzer_is_stored_with_its_accents():
    for analyzer in (Analyzer("de"), Analyzer("de", accents=False)):
        assert Analyzer.from_about(analyzer.about(), "index") == analyzer
    assert "accents" not in Analyzer("de").about()
    assert Analyzer("de", accents=False).query_terms("über Größe für") == ["gross"]
