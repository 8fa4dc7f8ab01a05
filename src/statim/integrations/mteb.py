"""mteb: an encoder for its benchmarks.

import mteb
from statim.integrations.mteb import StatimEncoder

mteb.evaluate(StatimEncoder("model"), tasks=mteb.get_tasks(tasks=["STSBenchmark"]))
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from statim.integrations.loading import loaded
from statim.model import StaticModel


class StatimEncoder(AbsEncoder):
    """A static model as mteb's encoder; queries and documents have the model's prompts.

    Args:
        model: A model, or where it is.
        name: What mteb's results call it, ``organisation/name``.

    Raises:
        ModelError: There is no model there.
    """

    def __init__(self, model: StaticModel | str | Path, name: str = "statim/model") -> None:
        self.model = loaded(model)
        self.mteb_model_meta = ModelMeta.create_empty(
            overwrites={
                "name": name,
                "revision": self.model.hash[:40],
                "embed_dim": self.model.dim,
                "n_parameters": int(self.model.table.size),
                "similarity_fn_name": ScoringFunction.COSINE,
                "framework": [],
                "open_weights": True,
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **options: Any,
    ) -> npt.NDArray[np.float32]:
        """The vectors of all texts of the batches ``inputs``, (n, d) float32."""
        del task_metadata, hf_split, hf_subset, options
        texts = [text for batch in inputs for text in batch["text"]]
        ways = {PromptType.query: self.model.encode_query, PromptType.document: self.model.encode_document}
        encode = self.model.encode if prompt_type is None else ways[prompt_type]
        found: npt.NDArray[np.float32] = encode(texts)
        return found
