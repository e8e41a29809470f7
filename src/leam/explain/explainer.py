"""The method: the maps of all layers and their aggregate, from one forward and one backward pass of a batch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from leam.display import card
from leam.errors import InputError, LayerError, did_you_mean
from leam.explain.aggregates import AGGREGATES, distribution, distributions, upsample
from leam.explain.backends import AUTO, BACKENDS, FASTEST
from leam.explain.backends.plain import Plain
from leam.explain.choice import last_sum_of, layers_of
from leam.explain.doubts import warn_of
from leam.explain.layers import CONVOLUTIONS, Layer
from leam.explain.memory import portion
from leam.explain.targets import RowTarget, Target, self_target
from leam.explain.weightings import WEIGHTINGS
from leam.figures import SCREEN, figure_bytes
from leam.files import write_private
from leam.recognizers.chips import Chips, Layout, Range
from leam.recognizers.recognizer import Recognizer

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DEFAULT_WEIGHTING = "auto"
"""``signed``, or ``absolute`` where the sum of a network's blocks is normalised; see :func:`fitting_weighting`."""
DEFAULT_AGGREGATE = "smooth"
OVERALL = "overall"
"""The name of the overall map among those of layers."""

_SIGNED, _ABSOLUTE = "signed", "absolute"
# Faces that are drawn of a batch.
_MOST_DRAWN = 5
_MOST_COLUMNS = 7


@dataclass(frozen=True, repr=False)
class Maps:
    """The maps of a batch of faces: where the layers support the embedding.

    Every map is non-negative and sums to 1, or is all zero and flagged in ``empty``. ``maps["conv1"]`` are the maps of
    a layer, ``maps["overall"]`` the overall maps; iterating gives the names.

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

    def __repr__(self) -> str:
        count, height, width = self.overall.shape
        faces, layers = _plural(count, "face"), _plural(len(self.layers), "layer")
        return f"Maps({faces}, {layers}, {height}x{width}, backend {self.backend})"

    def _repr_html_(self) -> str:
        facts = {"layers": ", ".join(layer.name for layer in self.layers) or None}
        return card(repr(self), facts, pictures={"maps": figure_bytes(self.plot(), dpi=SCREEN)})

    def __iter__(self) -> Iterator[str]:
        yield from (layer.name for layer in self.layers)
        yield OVERALL

    def __getitem__(self, name: str) -> Tensor:
        """The maps of a layer by its name, ``(B, h_l, w_l)``, or with ``overall`` the overall maps ``(B, h, w)``.

        Raises:
            LayerError: The layer was not explained.
        """
        return self.overall if name == OVERALL else self.layer_map(name)

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
        known = [layer.name for layer in self.layers]
        raise LayerError(
            f"layer {name}: not among the explained layers; {did_you_mean(str(name), known)}list(maps) has their names"
        )

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

    def plot(self, faces: NDArray[np.uint8] | None = None) -> Figure:
        """Draw the overall maps of the first five faces; of a single face also the map of each layer.

        Args:
            faces: The aligned faces, RGB ``(B, h, w, 3)`` uint8, to draw the maps on; by default on grey.

        Raises:
            InputError: The faces are not those of the maps.
        """
        # Imported when a figure is drawn: OpenCV takes a while.
        from leam.explain.figures import LayerPanel, batch_figure  # noqa: PLC0415

        count, *size = self.overall.shape
        if faces is not None and not isinstance(faces, np.ndarray | Tensor):
            raise InputError(
                f"plot: faces of type {type(faces).__name__}; expected the aligned faces, an array (B, h, w, 3); "
                "plot().savefig(path) writes the figure"
            )
        if faces is not None and tuple(faces.shape) != (count, *size, 3):
            raise InputError(
                f"faces of shape {tuple(faces.shape)}, expected {(count, *size, 3)}: those that were explained"
            )
        if faces is not None and not str(faces.dtype).endswith("uint8"):
            raise InputError(f"plot: faces of {faces.dtype}, expected uint8, 0-255")
        drawn = min(count, _MOST_DRAWN)
        panels = [
            LayerPanel(OVERALL, f"face {i + 1}", self.overall[i].cpu().numpy())
            for i in range(drawn)
        ]
        layers: list[LayerPanel] = []
        if count == 1 and self.layers:
            each = zip(self.layers, self.at_input_size()[:, 0].cpu().numpy(), strict=True)
            layers = [LayerPanel(one.name, _shape(one), values) for one, values in each]
        below = None if faces is None else [*([faces[0]] * len(layers)), *faces[:drawn]]
        panels = layers + panels
        shown = f"the first {drawn} of {count} faces" if count > drawn else _plural(count, "face")
        title = f"maps of {shown}, {_plural(len(self.layers), 'layer')}"
        return batch_figure(panels, below, min(len(panels), _MOST_COLUMNS), [title])

    def save(self, path: str | Path) -> None:
        """Write the maps into an ``.npz`` file.

        It holds ``overall``, ``layer/NAME`` for each layer, ``embeddings``, ``scores`` and ``empty``, with the shapes
        of the attributes.

        Raises:
            InputError: The path is a folder, or another file than an ``.npz`` file.
        """
        path = Path(path)
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give the path of an .npz file in it")
        if path.exists() and not _is_npz(path):
            raise InputError(f"{path}: exists and is no .npz file; give another path, or delete it")
        stream = io.BytesIO()
        layers = {f"layer/{layer.name}": self[layer.name].cpu().numpy() for layer in self.layers}
        others = {
            name: getattr(self, name).cpu().numpy()
            for name in ("overall", "embeddings", "scores", "empty")
        }
        np.savez_compressed(stream, allow_pickle=False, **others, **layers)
        write_private(path, stream.getvalue())

    def to_frame(self) -> pl.DataFrame:
        """All values: a polars DataFrame with ``face``, ``layer``, ``row``, ``column`` and ``value``."""
        import polars as pl  # noqa: PLC0415  slow to import

        frames = []
        for name in self:
            values = self[name].cpu().numpy()
            face, row, column = np.indices(values.shape, dtype=np.int32).reshape(3, -1)
            columns = {"face": face, "row": row, "column": column, "value": values.ravel()}
            frames.append(
                pl.DataFrame(columns).select(
                    "face", pl.lit(name).alias("layer"), "row", "column", "value"
                )
            )
        return pl.concat(frames)


class Explainer:
    """Layer Embedding Activation Mapping of a recognizer.

    Explainers may be used in several threads at once, also of the same recognizer.

    Args:
        recognizer: The recognizer to explain. Every call leaves its module as it was: mode, hooks, ``requires_grad``
            and ``.grad``.
        layers: ``convolutions``, ``stages``, or names and globs; see :func:`leam.explain.choice.choose_layers`.
        weighting: How activations and gradients become a layer's map; see :mod:`leam.explain.weightings`. ``auto`` is
            the one that :func:`fitting_weighting` chooses.
        aggregate: How layer maps become the overall map; see :mod:`leam.explain.aggregates`.
        backend: What computes the layer maps: ``plain``, ``fused``, or ``auto`` for the fastest; see
            :mod:`leam.explain.backends`.

    Attributes:
        recognizer: As given.
        layers: The chosen layers.
        weighting: The name of the chosen weighting, never ``auto``.
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
        self.aggregate = aggregate
        self.backend = FASTEST if backend == AUTO else backend
        weigh = None if weighting == DEFAULT_WEIGHTING else WEIGHTINGS[weighting]
        build = BACKENDS[self.backend]
        self._join = AGGREGATES[aggregate]
        self.layers = layers_of(recognizer, layers)
        self.weighting = weighting
        if weigh is None:
            known = self.layers if layers == CONVOLUTIONS else None
            self.weighting = fitting_weighting(recognizer, known)
            weigh = WEIGHTINGS[self.weighting]
        self._compute = build(recognizer, self.layers, weigh)
        self._plain = Plain(recognizer, self.layers, weigh)

    def __repr__(self) -> str:
        layers = _plural(len(self.layers), "layer")
        return (
            f"Explainer({self.recognizer.name}: {layers}, weighting {self.weighting}, "
            f"aggregate {self.aggregate}, backend {self.backend})"
        )

    def _repr_html_(self) -> str:
        facts = {
            "recognizer": self.recognizer,
            "weighting": self.weighting,
            "aggregate": self.aggregate,
            "backend": self.backend,
        }
        rows = [(layer.name, _shape(layer)) for layer in self.layers]
        return card("Explainer", facts, header=("layer", "channels, size"), rows=rows)

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
        given = chips.detach() if isinstance(chips, Tensor) else chips
        faces = self.recognizer.as_chips(given, range=range, layout=layout)
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


def fitting_weighting(recognizer: Recognizer, layers: tuple[Layer, ...] | None = None) -> str:
    """What ``auto`` stands for: ``signed``, or ``absolute`` where the sum of a network's blocks is normalised.

    A layer normalisation of the last residual sum takes the scale of each place out. The signed products of this sum
    then cancel, and those of the layers before it in part: what is left may lie anywhere (docs/method.md has figures).
    Whether they cancel is tried on a picture of noise.

    Args:
        recognizer: The recognizer.
        layers: Its default layers, if they are known.

    Returns:
        The name of a weighting.

    Raises:
        ModelError: As for :func:`leam.explain.choice.layers_of`.
    """
    size = (1, *recognizer.card.input_size, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)

    def cancelled(*layers: Layer) -> bool:
        maps = Plain(recognizer, layers, WEIGHTINGS[_SIGNED])(noise, self_target).maps
        return any(not one.any() for one in maps)

    try:
        # The sum is looked for only in networks of which some layer is normalised.
        if not cancelled(*(layers or layers_of(recognizer))):
            return _SIGNED
        last = last_sum_of(recognizer)
        return _ABSOLUTE if last and cancelled(last) else _SIGNED
    except LayerError:
        # Explaining the chosen layers says why, if it concerns them.
        return _SIGNED


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_npz(path: Path) -> bool:
    """Whether a file is an archive of arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return all(name.endswith(".npy") for name in names)


def _shape(layer: Layer) -> str:
    """The channels and the size of a layer's map: ``64 x 18x18``."""
    return f"{layer.channels} x {layer.size[0]}x{layer.size[1]}"
