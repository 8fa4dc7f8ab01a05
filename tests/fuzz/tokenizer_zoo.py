"""Small tokenizers of every kind that is in use, learned offline, the same on every run."""

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from statim.tokenizer.tokenizer import Tokenizer as Own
from statim.vocabulary import grow

# Docstrings are in English; this is for accents, other scripts, emoji, indented code, and phrases that stand
# often.
MULTILINGUAL = """
Der Ärger über die Größe des Gebäudes und die Straße führte zu heftigen Gesprächen.
Où est passé le garçon naïf qui aimait l’été à la plage ? « Là-bas », répondit sa sœur.
El niño comió piñas mañana; ¿cuándo volverá? ¡Qué alegría!
Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлка и йод.
Ο γρήγορος σκύλος πηδά πάνω από το τεμπέλικο ζώο, και ο ΟΔΟΣ είναι κενός.
İstanbul'da ılık bir gün; çağdaş öğrenciler şiir okuyor.
Tiếng Việt có rất nhiều dấu: ngày mai tôi sẽ đi học ở trường đại học.
日本語のテキストは空白なしで書かれます。東京タワーとカタカナ、ﾊﾝｶｸ。
中文句子没有空格，但是有标点符号。北京和上海是大城市。
한국어 문장은 띄어쓰기를 합니다. 각 단어는 조사와 함께 씁니다.
اللغة العربية تُكتب من اليمين إلى اليسار، والسلام عليكم ورحمة الله.
עברית נכתבת מימין לשמאל, עם נִקּוּד או בלי.
हिन्दी में शब्दों के बीच रिक्त स्थान होता है। मनीष क्षत्रिय।
ภาษาไทยไม่มีช่องว่างระหว่างคำ สวัสดีครับ
👩‍👩‍👧‍👦 family 👍🏽 thumbs 🇩🇪🇫🇷 flags ☃︎ ✂️ 😀😀😀
ＦＵＬＬ ｗｉｄｔｈ ① ② ½ ﬁne ﬂow Ⅷ ㎏ ™ … “quoted” ‘single’ — dash
    def add(self, x, y):
        return x + y    # comment

            if not (a == b) and c != d:
\tfor (int i = 0; i < 10; ++i) { sum += values[i] * 3.14159; }
I don't know; you've said we'll go, they're here, she'd DON'T I'M it's 2024-01-31 1,234,567.89
of the    of the    in the    to the    in the    of the
""".strip("\n").splitlines()

# The ways in which an added token may match; some hold spaces, overlap, or change under normalization. No two
# may become the same: which of them matches then is a matter of chance, in tokenizers itself.
ADDED = [
    AddedToken("[SPECIAL]", special=True),
    AddedToken("<left>", lstrip=True),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("<both>", lstrip=True, rstrip=True, special=True),
    AddedToken("<alone>", lstrip=True, rstrip=True, single_word=True),
    AddedToken("new", single_word=True),
    AddedToken("a1", single_word=True, normalized=False),
    AddedToken("New York"),
    AddedToken("San Jose", normalized=False, lstrip=True),
    AddedToken(" lead", normalized=False),
    AddedToken("trail ", normalized=True),
    AddedToken("É", normalized=True),
    AddedToken("ß", normalized=False, single_word=True),
    AddedToken("東京"),
    AddedToken("<a"),
    AddedToken("<ab>"),
    AddedToken("b> <"),
    AddedToken("[NEW]", normalized=True, rstrip=True),
    AddedToken("e\u0301t", normalized=False),
    AddedToken("\u3000x", normalized=False),
]
SPACES = [
    *(AddedToken(" " * length, normalized=True) for length in range(24, 1, -1)),
    AddedToken("\t\t", normalized=False),
    AddedToken("\n\n", normalized=False),
]

LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # noqa: E501
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def sequence(*parts: Any) -> Any:
    """Normalizers, or pre-tokenizers, one after the other."""
    module = normalizers if isinstance(parts[0], normalizers.Normalizer) else pre_tokenizers
    return module.Sequence(list(parts))


def split_bytes(pattern: str, *before: Any) -> Any:
    """Byte-level BPE whose words are the matches of a pattern."""
    return sequence(
        *before,
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    )


def charsmap(model: bytes) -> bytes:
    """The normalization table of a SentencePiece model: field 2 of its field 3 (protocol buffers' wire
    format).
    """

    def field(message: bytes, wanted: int) -> bytes:
        position = 0

        def number() -> int:
            nonlocal position
            value = shift = 0
            while True:
                byte = message[position]
                position += 1
                value |= (byte & 127) << shift
                if byte < 128:
                    return value
                shift += 7

        while position < len(message):
            key = number()
            match key & 7:
                case 0:
                    number()
                case 1:
                    position += 8
                case 2:
                    length = number()
                    position += length
                    if key >> 3 == wanted:
                        return message[position - length : position]
                case 5:
                    position += 4
        raise ValueError(f"no field {wanted}")

    return field(field(model, 3), 2)


class Zoo:
    """Tokenizers by name; each is learned when first asked for.

    Args:
        docstrings: What they learn from, beside the multilingual lines.
        minilm: The tokenizer of all-MiniLM-L6-v2.
    """

    def __init__(self, docstrings: Sequence[str], minilm: Tokenizer) -> None:
        self.documents = [*MULTILINGUAL, *docstrings]
        self.minilm = minilm
        self._lines = [*MULTILINGUAL * 4, *(line for text in docstrings[:250] for line in text.splitlines())]
        self._found: dict[str, Tokenizer] = {}

    def __getitem__(self, name: str) -> Tokenizer:
        if name not in self._found:
            # As if read from a file: reading changes the last digit of scores, once
            self._found[name] = Tokenizer.from_str(MEMBERS[name](self).to_str())
        return self._found[name]

    def grown(self, backend: Tokenizer) -> Tokenizer:
        """With rows for the frequent words and pairs of words of the documents."""
        texts = pa.array(self.documents, pa.large_string())
        return grow(Own(backend), [texts], words=150, pairs=400).tokenizer.backend

    def words(self, backend: Tokenizer) -> Counter[str]:
        """What the normalizer and the pre-tokenizer make of the lines, without the longest."""
        found: Counter[str] = Counter()
        for line in self._lines:
            text = backend.normalizer.normalize_str(line) if backend.normalizer else line
            cut = backend.pre_tokenizer.pre_tokenize_str(text) if backend.pre_tokenizer else [(text, None)]
            found.update(word for word, _ in cut if len(word) <= 40)
        return found

    def wordpiece(
        self,
        normalizer: Any,
        pre_tokenizer: Any,
        *added: AddedToken,
        size: int = 1500,
        prefix: str = "##",
        longest: int = 100,
    ) -> Tokenizer:
        """Whole words, endings and characters, the most frequent of each; the trainer's choice differs
        between runs.
        """
        backend = Tokenizer(models.WordPiece())
        if normalizer:
            backend.normalizer = normalizer
        if pre_tokenizer:
            backend.pre_tokenizer = pre_tokenizer
        words = self.words(backend)
        parts: Counter[str] = Counter()
        for word, count in words.items():
            for length in range(1, 5):
                parts[word[:length]] += count
                parts[prefix + word[-length:]] += count
                for at in range(1, len(word) - length, 2):
                    parts[prefix + word[at : at + length]] += count
        chosen = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "[MASK]",
            *(
                word
                for counted in (words, parts)
                for word, _ in sorted(counted.items(), key=lambda x: (-x[1], x[0]))[:size]
            ),
        ]
        backend.model = models.WordPiece(
            {word: number for number, word in enumerate(dict.fromkeys(chosen))},
            unk_token="[UNK]",
            continuing_subword_prefix=prefix,
            max_input_chars_per_word=longest,
        )
        backend.add_special_tokens(chosen[:5])
        backend.add_tokens(list(added))
        return backend

    def wordlevel(self, normalizer: Any, pre_tokenizer: Any, *added: AddedToken) -> Tokenizer:
        backend = Tokenizer(models.WordLevel())
        if normalizer:
            backend.normalizer = normalizer
        backend.pre_tokenizer = pre_tokenizer
        words = sorted(self.words(backend).items(), key=lambda x: (-x[1], x[0]))[:1500]
        vocabulary = {word: number for number, word in enumerate(dict.fromkeys(["[UNK]", *dict(words)]))}
        backend.model = models.WordLevel(vocabulary, unk_token="[UNK]")
        backend.add_tokens(list(added))
        return backend

    def _sentencepiece(self, **options: Any) -> tuple[list[tuple[str, float]], bytes]:
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for line in self._lines if line.strip()]),
            model_writer=written,
            model_type="unigram",
            vocab_size=2500,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            **options,
        )
        model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        pieces = [(model.id_to_piece(at), model.get_score(at)) for at in range(model.get_piece_size())]
        return pieces, charsmap(written.getvalue())

    @cached_property
    def _plain(self) -> tuple[list[tuple[str, float]], bytes]:
        return self._sentencepiece(normalization_rule_name="nmt_nfkc")

    @cached_property
    def _phrases(self) -> tuple[list[tuple[str, float]], bytes]:
        """Pieces that hold spaces; a table that folds case."""
        return self._sentencepiece(
            normalization_rule_name="nmt_nfkc_cf", split_by_whitespace=False, remove_extra_whitespaces=False
        )

    @property
    def nfkc(self) -> Any:
        return normalizers.Precompiled(self._plain[1])

    @property
    def folding(self) -> Any:
        return normalizers.Precompiled(self._phrases[1])

    def unigram(
        self,
        normalizer: Any,
        pre_tokenizer: Any,
        *added: AddedToken,
        phrases: bool = False,
        space: str = "▁",
        byte_fallback: bool = False,
    ) -> Tokenizer:
        pieces = (self._phrases if phrases else self._plain)[0]
        pieces = [(piece.replace("▁", space), score) for piece, score in pieces]
        if byte_fallback:
            pieces = [*pieces[:4], *((byte, 0.0) for byte in BYTES), *pieces[4:]]
        backend = Tokenizer(models.Unigram([*pieces, ("<mask>", 0.0)], 3, byte_fallback))
        if normalizer:
            backend.normalizer = normalizer
        if pre_tokenizer:
            backend.pre_tokenizer = pre_tokenizer
        backend.add_special_tokens(
            ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
        )
        backend.add_tokens(list(added))
        return backend

    def bpe(
        self,
        normalizer: Any,
        pre_tokenizer: Any,
        *added: AddedToken,
        learned_with: Any = None,
        specials: Sequence[str] = (),
        size: int = 2500,
        alphabet: Sequence[str] = (),
        most_characters: int | None = None,
        drop_merges: int = 0,
        **options: Any,
    ) -> Tokenizer:
        """``drop_merges`` forgets each so-manieth merge: the words that need it can be found in the
        vocabulary alone.
        """
        learner = Tokenizer(models.BPE(**options))
        if normalizer:
            learner.normalizer = normalizer
        if learned_with or pre_tokenizer:
            learner.pre_tokenizer = learned_with or pre_tokenizer
        if not alphabet:
            counts: Counter[str] = Counter()
            for word, count in self.words(learner).items():
                counts.update(dict.fromkeys(word, count))
            alphabet = sorted(counts, key=lambda character: (-counts[character], character))[:most_characters]
        prefix, suffix = (
            options.get(name, "") for name in ("continuing_subword_prefix", "end_of_word_suffix")
        )
        # Given beforehand, as the trainer would number these in an order of its own
        affixed = [
            f"{before}{character}{after}"
            for before, after in dict.fromkeys([(prefix, ""), ("", suffix), (prefix, suffix)])
            if before or after
            for character in alphabet
        ]
        affixes = {name: value for name, value in options.items() if name.endswith(("prefix", "suffix"))}
        learner.train_from_iterator(
            self._lines,
            trainers.BpeTrainer(
                vocab_size=size,
                special_tokens=[*specials, *affixed],
                initial_alphabet=list(alphabet),
                limit_alphabet=len(alphabet),
                show_progress=False,
                **affixes,
            ),
        )
        learned = json.loads(learner.to_str())["model"]
        merges = [tuple(pair) for pair in learned["merges"]]
        if drop_merges:
            merges = [pair for number, pair in enumerate(merges) if number < 300 or number % drop_merges]
        backend = Tokenizer(models.BPE(learned["vocab"], merges, **options))
        if normalizer:
            backend.normalizer = normalizer
        if pre_tokenizer:
            backend.pre_tokenizer = pre_tokenizer
        backend.add_tokens(list(added))
        return backend

    def byte_bpe(self, normalizer: Any, pre_tokenizer: Any, *added: AddedToken, **options: Any) -> Tokenizer:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        return self.bpe(normalizer, pre_tokenizer, *added, alphabet=alphabet, **options)


def bert(**options: bool) -> Any:
    return normalizers.BertNormalizer(**options)


def minilm(zoo: Zoo, *added: AddedToken) -> Tokenizer:
    backend = Tokenizer.from_str(zoo.minilm.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.add_tokens(list(added))
    return backend


def metaspace(scheme: str, split: bool, **options: Any) -> Any:
    return pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split, **options)


words = pre_tokenizers.BertPreTokenizer()
several_spaces = normalizers.Replace(Regex(" {2,}"), " ")
MASK = AddedToken("<mask>", lstrip=True, special=True)
END = AddedToken("<|endoftext|>", special=True, normalized=False)

MEMBERS: dict[str, Callable[[Zoo], Tokenizer]] = {
    "wordpiece-minilm": minilm,
    "wordpiece-minilm-added": lambda zoo: minilm(zoo, *ADDED),
    "wordpiece-minilm-grown": lambda zoo: zoo.grown(minilm(zoo)),
    "wordpiece-cased-grown": lambda zoo: zoo.grown(zoo.wordpiece(bert(lowercase=False), words)),
    "wordpiece-added-grown": lambda zoo: zoo.grown(minilm(zoo, *ADDED)),
    "unigram-xlmr-grown": lambda zoo: zoo.grown(zoo["unigram-xlmr"]),
    "unigram-albert-grown": lambda zoo: zoo.grown(zoo["unigram-albert"]),
    "bpe-gpt2-grown": lambda zoo: zoo.grown(zoo["bpe-gpt2"]),
    "bpe-llama3-grown": lambda zoo: zoo.grown(zoo["bpe-llama3"]),
    "wordpiece-uncased": lambda zoo: zoo.wordpiece(bert(), words),
    "wordpiece-cased": lambda zoo: zoo.wordpiece(bert(lowercase=False), words),
    "wordpiece-cased-added": lambda zoo: zoo.wordpiece(bert(lowercase=False), words, *ADDED, *SPACES),
    "wordpiece-accents": lambda zoo: zoo.wordpiece(bert(strip_accents=False), words),
    "wordpiece-cased-no-accents": lambda zoo: zoo.wordpiece(bert(lowercase=False, strip_accents=True), words),
    "wordpiece-chinese-words": lambda zoo: zoo.wordpiece(bert(handle_chinese_chars=False), words),
    "wordpiece-unclean": lambda zoo: zoo.wordpiece(bert(clean_text=False), words),
    "wordpiece-unclean-added": lambda zoo: zoo.wordpiece(
        bert(clean_text=False, lowercase=False), words, *ADDED
    ),
    "wordpiece-small": lambda zoo: zoo.wordpiece(bert(), words, size=60, longest=8),
    "wordpiece-prefix": lambda zoo: zoo.wordpiece(bert(), words, prefix="@@", longest=3),
    "wordpiece-no-prefix": lambda zoo: zoo.wordpiece(bert(), words, prefix=""),
    "wordpiece-bare": lambda zoo: zoo.wordpiece(None, words),
    "wordpiece-bare-added": lambda zoo: zoo.wordpiece(None, words, *ADDED),
    "wordpiece-whole-texts": lambda zoo: zoo.wordpiece(bert(), None, longest=200),
    "wordpiece-whitespace": lambda zoo: zoo.wordpiece(bert(), pre_tokenizers.Whitespace()),
    "wordpiece-whitespace-split": lambda zoo: zoo.wordpiece(bert(), pre_tokenizers.WhitespaceSplit(), *ADDED),
    "wordpiece-nfc": lambda zoo: zoo.wordpiece(normalizers.NFC(), words),
    "wordpiece-nfc-added": lambda zoo: zoo.wordpiece(
        normalizers.NFC(), pre_tokenizers.WhitespaceSplit(), *ADDED
    ),
    "wordpiece-nfd": lambda zoo: zoo.wordpiece(normalizers.NFD(), words),
    "wordpiece-nfkc": lambda zoo: zoo.wordpiece(normalizers.NFKC(), pre_tokenizers.Whitespace(), *ADDED),
    "wordpiece-nfkd": lambda zoo: zoo.wordpiece(
        sequence(normalizers.NFKD(), normalizers.Lowercase()), pre_tokenizers.WhitespaceSplit()
    ),
    "wordpiece-no-accents": lambda zoo: zoo.wordpiece(
        sequence(normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()), words, *ADDED
    ),
    "wordpiece-lowercase": lambda zoo: zoo.wordpiece(normalizers.Lowercase(), pre_tokenizers.Whitespace()),
    "wordpiece-strip": lambda zoo: zoo.wordpiece(
        sequence(normalizers.Strip(), normalizers.StripAccents(), normalizers.Lowercase()), words, *ADDED
    ),
    "wordpiece-bert-strip": lambda zoo: zoo.wordpiece(
        sequence(bert(), normalizers.Strip(), normalizers.NFC()), words
    ),
    "wordpiece-nmt": lambda zoo: zoo.wordpiece(
        sequence(normalizers.Nmt(), normalizers.NFKC(), several_spaces), pre_tokenizers.WhitespaceSplit()
    ),
    "wordpiece-replace": lambda zoo: zoo.wordpiece(
        sequence(normalizers.Replace(" t", "t "), normalizers.Replace(Regex(r"\s+the\b"), " ")), words, *ADDED
    ),
    "wordpiece-digits": lambda zoo: zoo.wordpiece(
        bert(), sequence(words, pre_tokenizers.Digits(individual_digits=True))
    ),
    "wordpiece-scripts": lambda zoo: zoo.wordpiece(normalizers.NFKC(), pre_tokenizers.UnicodeScripts()),
    "wordpiece-hyphens": lambda zoo: zoo.wordpiece(bert(), pre_tokenizers.CharDelimiterSplit("-")),
    "wordpiece-fives": lambda zoo: zoo.wordpiece(bert(), pre_tokenizers.FixedLength(5)),
    "wordpiece-double-spaces": lambda zoo: zoo.wordpiece(
        bert(), pre_tokenizers.Split("  ", "merged_with_next"), *ADDED
    ),
    "wordpiece-punctuation": lambda zoo: zoo.wordpiece(
        bert(), sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"))
    ),
    "unigram-xlmr": lambda zoo: zoo.unigram(
        zoo.nfkc, sequence(pre_tokenizers.WhitespaceSplit(), metaspace("always", True))
    ),
    "unigram-xlmr-added": lambda zoo: zoo.unigram(
        zoo.nfkc, sequence(pre_tokenizers.WhitespaceSplit(), metaspace("always", True)), *ADDED
    ),
    "unigram-xlmr-spaces": lambda zoo: zoo.unigram(
        sequence(zoo.nfkc, several_spaces), metaspace("always", True)
    ),
    "unigram-always": lambda zoo: zoo.unigram(zoo.nfkc, metaspace("always", True)),
    "unigram-always-whole": lambda zoo: zoo.unigram(zoo.nfkc, metaspace("always", False), phrases=True),
    "unigram-first": lambda zoo: zoo.unigram(zoo.nfkc, metaspace("first", True), *ADDED),
    "unigram-first-whole": lambda zoo: zoo.unigram(None, metaspace("first", False), *ADDED, phrases=True),
    "unigram-never": lambda zoo: zoo.unigram(zoo.nfkc, metaspace("never", True)),
    "unigram-never-whole": lambda zoo: zoo.unigram(None, metaspace("never", False), phrases=True),
    "unigram-albert": lambda zoo: zoo.unigram(
        sequence(
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            zoo.nfkc,
            several_spaces,
        ),
        metaspace("always", True),
    ),
    "unigram-t5": lambda zoo: zoo.unigram(
        sequence(
            zoo.nfkc, normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")
        ),
        metaspace("always", True),
        *ADDED,
    ),
    "unigram-folding": lambda zoo: zoo.unigram(zoo.folding, metaspace("always", True), phrases=True),
    "unigram-bytes": lambda zoo: zoo.unigram(zoo.nfkc, metaspace("always", True), byte_fallback=True),
    "unigram-nmt": lambda zoo: zoo.unigram(
        sequence(normalizers.Nmt(), normalizers.NFKC(), several_spaces), metaspace("always", True)
    ),
    "unigram-other-space": lambda zoo: zoo.unigram(
        None, metaspace("always", True, replacement="_"), space="_"
    ),
    "unigram-bare": lambda zoo: zoo.unigram(None, None, phrases=True, space=" "),
    "unigram-words": lambda zoo: zoo.unigram(
        normalizers.NFC(), pre_tokenizers.Whitespace(), *ADDED, space=""
    ),
    "bpe-gpt2": lambda zoo: zoo.byte_bpe(None, BYTE_LEVEL, END),
    "bpe-gpt2-added": lambda zoo: zoo.byte_bpe(None, BYTE_LEVEL, END, *ADDED),
    "bpe-roberta": lambda zoo: zoo.byte_bpe(None, pre_tokenizers.ByteLevel(add_prefix_space=True), MASK),
    "bpe-roberta-added": lambda zoo: zoo.byte_bpe(
        None, pre_tokenizers.ByteLevel(add_prefix_space=True), *ADDED
    ),
    "bpe-llama3": lambda zoo: zoo.byte_bpe(
        None, split_bytes(LLAMA_3), END, ignore_merges=True, drop_merges=7
    ),
    "bpe-qwen2": lambda zoo: zoo.byte_bpe(normalizers.NFC(), split_bytes(QWEN_2), END, *ADDED),
    "bpe-o200k": lambda zoo: zoo.byte_bpe(None, split_bytes(O200K), END),
    "bpe-dropped-merges": lambda zoo: zoo.byte_bpe(None, split_bytes(LLAMA_3), drop_merges=7),
    "bpe-modernbert": lambda zoo: zoo.byte_bpe(
        normalizers.NFC(), BYTE_LEVEL, END, AddedToken("[MASK]", lstrip=True, special=True), *SPACES
    ),
    "bpe-neox-prefix": lambda zoo: zoo.byte_bpe(
        None, pre_tokenizers.ByteLevel(add_prefix_space=True), *SPACES, *ADDED
    ),
    "bpe-starcoder": lambda zoo: zoo.byte_bpe(
        None, sequence(pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL), END
    ),
    "bpe-deepseek": lambda zoo: zoo.byte_bpe(
        None,
        split_bytes(
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
            pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        ),
    ),
    "bpe-clip": lambda zoo: zoo.byte_bpe(
        sequence(normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()),
        sequence(pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), BYTE_LEVEL),
        AddedToken("<|startoftext|>", special=True),
        end_of_word_suffix="</w>",
    ),
    "bpe-byte-words": lambda zoo: zoo.byte_bpe(
        None, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), learned_with=BYTE_LEVEL
    ),
    "bpe-llama2": lambda zoo: zoo.bpe(
        sequence(normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")),
        None,
        AddedToken("<s>", special=True),
        learned_with=metaspace("never", True),
        specials=["<unk>", "<s>", "</s>", *BYTES],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    ),
    "bpe-llama2-added": lambda zoo: zoo.bpe(
        sequence(normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")),
        None,
        *ADDED,
        *SPACES,
        specials=["<unk>", "<s>", "</s>", *BYTES],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    ),
    "bpe-gemma": lambda zoo: zoo.bpe(
        normalizers.Replace(" ", "▁"),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        AddedToken("\n\n\n"),
        *(AddedToken("▁" * length, normalized=False) for length in range(2, 9)),
        specials=["<unk>", *BYTES],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    ),
    "bpe-metaspace": lambda zoo: zoo.bpe(
        None,
        metaspace("first", True),
        *ADDED,
        most_characters=60,
        unk_token="<unk>",
        specials=["<unk>"],
        fuse_unk=True,
    ),
    "bpe-suffix": lambda zoo: zoo.bpe(
        normalizers.Lowercase(),
        words,
        unk_token="<unk>",
        specials=["<unk>"],
        most_characters=50,
        end_of_word_suffix="</w>",
    ),
    "bpe-prefix": lambda zoo: zoo.bpe(
        None,
        pre_tokenizers.Whitespace(),
        *ADDED,
        unk_token="<unk>",
        specials=["<unk>"],
        most_characters=50,
        continuing_subword_prefix="##",
    ),
    "bpe-fused-unknowns": lambda zoo: zoo.bpe(
        None,
        pre_tokenizers.WhitespaceSplit(),
        unk_token="<unk>",
        specials=["<unk>"],
        most_characters=20,
        fuse_unk=True,
    ),
    "bpe-no-unknown": lambda zoo: zoo.bpe(None, pre_tokenizers.WhitespaceSplit(), most_characters=30),
    "bpe-phrases": lambda zoo: zoo.bpe(None, None, *ADDED, most_characters=80),
    "wordlevel-whitespace": lambda zoo: zoo.wordlevel(normalizers.Lowercase(), pre_tokenizers.Whitespace()),
    "wordlevel-split-added": lambda zoo: zoo.wordlevel(
        sequence(normalizers.NFKC(), normalizers.Lowercase()), pre_tokenizers.WhitespaceSplit(), *ADDED
    ),
    "wordlevel-lines": lambda zoo: zoo.wordlevel(
        None, pre_tokenizers.Split(Regex(r"[.\n] ?"), "merged_with_previous")
    ),
}
