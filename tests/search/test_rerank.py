import numpy as np
import pytest

from statim.errors import InputError, ModelError
from statim.search.rerank import Reranker


class Longest:
    """A stand-in: long texts belong together."""

    def predict(self, pairs):
        return np.array([len(text) for _, text in pairs], np.float32)


def test_the_best_are_scored_again(index):
    plain = index.search("copy a file", 20)
    hits = index.search("copy a file", 3, rerank=Reranker(Longest(), 20))
    expected = sorted(plain, key=lambda hit: -len(hit.text))[:3]
    assert [hit.id for hit in hits] == [hit.id for hit in expected]
    assert [hit.score for hit in hits] == [len(hit.text) for hit in expected]
    assert [hit.rank for hit in hits] == [1, 2, 3]
    many = index.search(["copy a file", "zzz"], 3, mode="bm25", rerank=Reranker(Longest(), 20))
    assert many[1] == []


def test_a_model_of_vectors(index, model, tmp_path):
    model.save(tmp_path / "model")
    hits = index.search("copy a file", 10, mode="bm25", rerank=Reranker(tmp_path / "model", 100))
    query = model.encode_query("copy a file", normalize=True)
    cosines = [float(model.encode_document(hit.text, normalize=True) @ query) for hit in hits]
    np.testing.assert_allclose([hit.score for hit in hits], cosines, atol=1e-6)
    assert cosines == sorted(cosines, reverse=True)


def test_a_cross_encoder_of_sentence_transformers(index, tmp_path, minilm):
    import torch
    import transformers
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=minilm.get_vocab_size(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=1,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "cross")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=minilm, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(tmp_path / "cross")
    hits = index.search("copy a file", 5, rerank=Reranker(str(tmp_path / "cross"), 5))
    expected = CrossEncoder(str(tmp_path / "cross"), device="cpu").predict(
        [("copy a file", hit.text) for hit in hits], show_progress_bar=False
    )
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)
    assert list(expected) == sorted(expected, reverse=True)


def test_bad_rerankers(index, tmp_path):
    class Wrong:
        def predict(self, pairs):
            return np.full(len(pairs), np.nan)

    with pytest.raises(InputError, match="not finite"):
        index.search("copy a file", rerank=Reranker(Wrong()))
    with pytest.raises(InputError, match="depth of the reranking is 0"):
        Reranker(Wrong(), 0)
    with pytest.raises(InputError, match="without a method"):
        Reranker(3)
    with pytest.raises(ModelError):
        Reranker(str(tmp_path / "nowhere"))
