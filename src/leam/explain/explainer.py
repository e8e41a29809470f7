"""The method: the maps of all layers and their aggregate, from one forward and one backward pass of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from leam.errors import LayerError
from leam.explain.aggregates import AGGREGATES, distribution, distributions, upsample
from leam.explain.backends import AUTO, BACKENDS, FASTEST
from leam.explain.backends.plain import Plain
from leam.explain.choice import layers_of
from leam.explain.doubts import warn_of
from leam.explain.layers import CONVOLUTIONS, Layer
from leam.explain.memory import portion
from leam.explain.targets import RowTarget, Target, self_target
from leam.explain.weightings import WEIGHTINGS
from leam.recognizers.chips import Chips, Layout, Range
from leam.recognizers.recognizer import Recognizer

DEFAULT_WEIGHTING = "signed"
DEFAULT_AGGREGATE = "smooth"


@dataclass(frozen=True)
class Maps:
    """The maps of a batch of faces: where the layers support the embedding.

    Every map is non-negative and sums to 1, or is all zero and flagged in ``empty``.

    Attributes:
        layers: The layers, in the order of ``layer_maps``.
        layer_maps: One ``(B, h_l, w_l)`` float32 for each layer, at the layer's own size.
        overall: The aggregate of the layer maps, ``(B, h, w)`` float32 at the input's size.
        embeddings: ``(B, D)`` float32, not normalised.
        scores: The target's value, ``(B,)``.
        empty: True where a layer's map was zero, not finite, or made of rounding errors only, ``(L, B)``.
        backend: The name of the backend that computed the maps; ``plain`` if it took over for part of the batch.
    """

    layers: tuple[Layer, ...]
    layer_maps: tuple[Tensor, ...]
    overall: Tensor
    embeddings: Tensor
    scores: Tensor
    empty: Tensor
    backend: str

    @property
    def overall_empty(self) -> Tensor:
        """True for faces without an overall map, ``(B,)``."""
        return self.overall.sum(dim=(1, 2)) == 0

    def layer_map(self, name: str) -> Tensor:
        """The maps of a layer by its name, ``(B, h_l, w_l)``.

        Raises:
            LayerError: The layer was not explained.
        """
        for layer, maps in zip(self.layers, self.layer_maps, strict=True):
            if layer.name == name:
                return maps
        raise LayerError(f"layer {name}: not among the explained layers")

    def at_input_size(self) -> Tensor:
        """All layer maps at the input's size, ``(L, B, h, w)``, each summing to 1 or empty."""
        size = (self.overall.shape[1], self.overall.shape[2])
        return torch.stack([distribution(upsample(maps, size)) for maps in self.layer_maps])

    def face(self, index: int) -> Maps:
        """The maps of one face of the batch, as a batch of one."""
        one = slice(index, index + 1)
        return replace(
            self,
            layer_maps=tuple(maps[one] for maps in self.layer_maps),
            overall=self.overall[one],
            embeddings=self.embeddings[one],
            scores=self.scores[one],
            empty=self.empty[:, one],
        )


class Explainer:
    """Layer Embedding Activation Mapping of a recognizer.

    Explainers may be used in several threads at once, also of the same recognizer.

    Args:
        recognizer: The recognizer to explain. Every call leaves its module as it was: mode, hooks, ``requires_grad``
            and ``.grad``.
        layers: ``convolutions``, ``stages``, or names and globs; see :func:`leam.explain.choice.choose_layers`.
        weighting: How activations and gradients become a layer's map; see :mod:`leam.explain.weightings`.
        aggregate: How layer maps become the overall map; see :mod:`leam.explain.aggregates`.
        backend: What computes the layer maps: ``plain``, ``fused``, or ``auto`` for the fastest; see
            :mod:`leam.explain.backends`.

    Attributes:
        recognizer: As given.
        layers: The chosen layers.
        weighting: As given.
        aggregate: As given.
        backend: The name of the chosen backend, never ``auto``; ``plain`` may take over, see :class:`Maps`.

    Raises:
        LayerError: A layer does not exist, has no grid or no clear layout, or does not reach the embedding.
        ModelError: The module contains TorchScript modules, or does not return embeddings.
        InputError: There is no such weighting, aggregate or backend.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        layers: str | Sequence[str] = CONVOLUTIONS,
        weighting: str = DEFAULT_WEIGHTING,
        aggregate: str = DEFAULT_AGGREGATE,
        backend: str = AUTO,
    ) -> None:
        self.recognizer = recognizer
        self.weighting = weighting
        self.aggregate = aggregate
        self.backend = FASTEST if backend == AUTO else backend
        weigh, build = WEIGHTINGS[weighting], BACKENDS[self.backend]
        self._join = AGGREGATES[aggregate]
        self.layers = layers_of(recognizer, layers)
        self._compute = build(recognizer, self.layers, weigh)
        self._plain = Plain(recognizer, self.layers, weigh)

    @property
    def name(self) -> str:
        """``leam``, the name among the attribution methods."""
        return "leam"

    def __setattr__(self, name: str, value: object) -> None:
        # An explanation records these attributes: they must be the ones that its maps were computed with.
        if not name.startswith("_") and hasattr(self, "_compute"):
            raise AttributeError(f"{name}: explainers cannot be changed; create another one")
        super().__setattr__(name, value)

    def explain(
        self,
        chips: Chips,
        target: Target = self_target,
        *,
        range: Range | None = None,  # noqa: A002
        layout: Layout | None = None,
    ) -> Maps:
        """Map what supports the target in each face.

        One forward and one backward pass serve all layers. Large batches are split into portions of the recognizer's
        batch size, or else of a size that fits the caches or a GPU; a face's maps do not depend on the other faces of
        its batch (to rounding).

        Args:
            chips: Aligned faces, RGB ``(B, h, w, 3)``, 0-255, at the recognizer's input size; other forms as for
                :meth:`leam.Recognizer.preprocess`.
            target: From embeddings ``(B, D)`` to scores ``(B,)``; see :mod:`leam.explain.targets`. A target that is not
                a :class:`leam.explain.targets.RowTarget` gets the whole batch at once.
            range: The values of black and white, as for :meth:`leam.Recognizer.preprocess`.
            layout: ``BCHW`` for chips ``(B, 3, h, w)``.

        Raises:
            ModelError: The chips or the module's output have the wrong shape.
            InputError: The chips have values of another range, or the number of the target's references is not the
                number of faces.
            LayerError: A layer took no part in this forward pass.

        Warns:
            LeamWarning: A face has no map, or different faces have one embedding; see :mod:`leam.explain.doubts`.
        """
        faces = self.recognizer.as_chips(chips, range=range, layout=layout)
        parts = [
            self._compute(faces[rows], part) for rows, part in self._portions(target, len(faces))
        ]
        names = {part.backend for part in parts}
        with torch.no_grad():
            layer_maps, empty = distributions(
                [torch.cat(maps) for maps in zip(*(part.maps for part in parts), strict=True)]
            )
            overall = distribution(self._join(layer_maps, self.recognizer.card.input_size))
        maps = Maps(
            layers=self.layers,
            layer_maps=layer_maps,
            overall=overall.contiguous(),
            embeddings=torch.cat([part.embeddings for part in parts]),
            scores=torch.cat([part.scores for part in parts]),
            empty=empty,
            backend=names.pop() if len(names) == 1 else "plain",
        )
        warn_of(self.recognizer.name, faces, maps, target, self.weighting)
        return maps

    def _portions(self, target: Target, count: int) -> list[tuple[slice, Target]]:
        """The faces that run at once, and their target."""
        usual = portion(self.layers, count, self.recognizer.device)
        fitting = self.recognizer.within_memory(usual, gradients=True)
        size = self.recognizer.batch_size or fitting
        if not isinstance(target, RowTarget) or size >= count:
            return [(slice(None), target)]
        rows = [slice(start, start + size) for start in range(0, count, size)]
        return [(part, target.rows(part, count)) for part in rows]

    def differentiate(
        self, chips: Chips, target: Target = self_target
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """The activations and gradients that the method is defined by.

        :meth:`explain` returns the maps that follow from these, without holding all of them at once.

        Args:
            chips: As for :meth:`explain`.
            target: As for :meth:`explain`.

        Returns:
            Each layer's activations ``(B, C, h, w)``, the gradients of the scores with respect to them, the embeddings
            ``(B, D)`` and the scores ``(B,)``; all detached.

        Raises:
            ModelError, InputError, LayerError: As for :meth:`explain`.
        """
        return self._plain.differentiate(self.recognizer.as_chips(chips), target)
