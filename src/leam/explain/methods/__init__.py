"""Attribution methods under one protocol, LEAM itself among them.

A :class:`Method` belongs to a recognizer and maps what supports a target's score in each face, as
:meth:`leam.explain.explainer.Explainer.explain` does. What lowers the score is the map of the negated target
(:func:`leam.explain.targets.negated`); for the similarity of a pair, these are the parts that make the faces alike and
those that make them different. All methods are our own implementations of the cited papers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from leam.errors import InputError, PluginError
from leam.explain.aggregates import distribution
from leam.explain.backends import AUTO, Chips
from leam.explain.doubts import warn_of
from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING, Maps
from leam.explain.layers import CONVOLUTIONS, Layer
from leam.explain.targets import (
    Negated,
    PictureTarget,
    RowTarget,
    Target,
    anchored,
    negated,
    reference_target,
    self_target,
)
from leam.plugins import Registry
from leam.recognizers.black_box import BlackBox
from leam.recognizers.recognizer import Recognizer

LEAM = "leam"
"""The name of the default method: :class:`leam.explain.explainer.Explainer`."""

Needs = Literal["gradients", "embeddings", "scores"]
"""What a method needs of a recognizer. A recognizer that gives gradients gives embeddings, and both give scores."""
_GIVES: dict[Needs, tuple[Needs, ...]] = {
    "gradients": ("gradients", "embeddings", "scores"),
    "embeddings": ("embeddings", "scores"),
    "scores": ("scores",),
}

# The range of changed faces is stated: what remains visible may be a dark part of a face.
_USUAL = (0, 255)

Attribution = Callable[[Chips, Target], Tensor]
"""From aligned faces ``(B, h, w, 3)`` and the target of their batch to maps ``(B, h, w)``, non-negative, of any sum:
what supports the target's score."""

MateMaps = Callable[[Chips, Tensor], Tensor]
"""From aligned faces and the embeddings ``(B, D)`` that they are compared with to overall maps ``(B, h, w)``."""


class Method(Protocol):
    """Explains the faces of one recognizer; :class:`leam.explain.explainer.Explainer` is one."""

    @property
    def name(self) -> str:
        """The method's name in :data:`METHODS`."""

    @property
    def recognizer(self) -> Recognizer:
        """The recognizer that is explained."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The explained layers; none for methods without layer maps."""

    def explain(self, chips: Chips, target: Target = self_target) -> Maps:
        """Map what supports the target in each face; see :meth:`leam.explain.explainer.Explainer.explain`."""


@dataclass(frozen=True, repr=False)
class PixelMethod:
    """A method without layer maps.

    Attributes:
        name: Its name in :data:`METHODS`.
        recognizer: The recognizer that is explained.
        attribute: Computes the maps.
        calls: The largest number of calls for one map; None for the method's own number.
    """

    name: str
    recognizer: Recognizer
    attribute: Attribution
    calls: int | None = None

    def __repr__(self) -> str:
        return f"PixelMethod({self.name} of {self.recognizer.name})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """No layers."""
        return ()

    def explain(self, chips: Chips, target: Target = self_target) -> Maps:
        """The maps of a batch of faces.

        Args:
            chips: Aligned faces, RGB ``(B, h, w, 3)``, 0-255, at the recognizer's input size.
            target: From embeddings to scores, or a :class:`leam.explain.targets.PictureTarget`.

        Raises:
            InputError: The method cannot explain this target.
            ModelError: The recognizer fails.
        """
        maps = distribution(self.attribute(chips, target))
        if _gives(self.recognizer) == "scores":
            score = scorer(self.recognizer, chips, target)
            batch = torch.as_tensor(chips)
            scores = torch.cat([score(row, batch[row : row + 1]) for row in range(len(batch))])
            embeddings = torch.empty(len(batch), 0)
        else:
            embeddings = self.recognizer.embed(chips)
            scores = target(embeddings)
        none = torch.empty(0, len(maps), dtype=torch.bool, device=maps.device)
        found = Maps((), (), maps, embeddings, scores, none, backend=self.name)
        warn_of(self.recognizer.name, self.recognizer.as_chips(chips), found, target, None)
        return found


@dataclass(frozen=True)
class MethodSettings:
    """Settings of a method; each method uses those that concern it.

    Attributes:
        layers: Of ``leam``, as for :class:`leam.explain.explainer.Explainer`.
        weighting: Of ``leam``.
        aggregate: Of ``leam``.
        backend: Of ``leam``.
        calls: Of methods that call the recognizer with changed pictures: the largest number of calls for one map, the
            unchanged picture included; None for the method's default.
    """

    layers: str | Sequence[str] = CONVOLUTIONS
    weighting: str = DEFAULT_WEIGHTING
    aggregate: str = DEFAULT_AGGREGATE
    backend: str = AUTO
    calls: int | None = None


@dataclass(frozen=True, kw_only=True)
class MethodFactory(ABC):
    """Creates a method for recognizers.

    Attributes:
        needs: What the recognizer must give.
        counted: The method calls the recognizer with changed pictures, as often as ``MethodSettings.calls`` allows.
        compares: The target must compare the face with another one; ``self`` cannot be explained.
    """

    needs: Needs = "gradients"
    counted: bool = False
    compares: bool = False

    @abstractmethod
    def create(self, name: str, recognizer: Recognizer, settings: MethodSettings) -> Method:
        """The method for a recognizer.

        Raises:
            LeamError: The settings do not fit.
        """


@dataclass(frozen=True)
class AttributionMethod(MethodFactory):
    """A method without layer maps; the entry points of ``leam.methods`` name such objects.

    Attributes:
        build: From a recognizer to the function that computes the maps; if the method is ``counted``, also from the
            number of calls or None.
    """

    build: Callable[..., Attribution]

    def create(self, name: str, recognizer: Recognizer, settings: MethodSettings) -> Method:
        """The function's maps; see :meth:`MethodFactory.create`."""
        extra = (settings.calls,) if self.counted else ()
        return PixelMethod(name, recognizer, self.build(recognizer, *extra), settings.calls)


METHODS: Registry[MethodFactory] = Registry(
    "attribution method", "leam.methods", package="leam.explain.methods", one_each=False
)
"""The methods by name."""


def attribution(
    name: str, *, needs: Needs = "gradients", counted: bool = False, compares: bool = False
) -> Callable[[Callable[..., Attribution]], AttributionMethod]:
    """Register the function that builds a method; see :class:`AttributionMethod`."""
    register: Callable[[AttributionMethod], AttributionMethod] = METHODS(name)
    return lambda build: register(
        AttributionMethod(build, needs=needs, counted=counted, compares=compares)
    )


def method_named(name: str) -> MethodFactory:
    """The method of this name.

    Raises:
        InputError: There is no such method.
        PluginError: A plug-in's entry point names something else.
    """
    found: object = METHODS[name]
    if not isinstance(found, MethodFactory):
        raise PluginError(
            f"{METHODS.origin(name)}: its attribution method {name} is not an AttributionMethod; update that package"
        )
    return found


def create_method(
    name: str, recognizer: Recognizer, settings: MethodSettings | None = None
) -> Method:
    """Create a method for a recognizer.

    Args:
        name: A name in :data:`METHODS`.
        recognizer: The recognizer to explain, or a :class:`leam.recognizers.black_box.BlackBox`.
        settings: The method's settings.

    Raises:
        InputError: There is no such method, it needs what the recognizer does not give, or ``calls`` does not concern
            it or is too small.
        LeamError: The settings of ``leam`` are invalid; see :class:`leam.explain.explainer.Explainer`.
    """
    settings, made = settings or MethodSettings(), method_named(name)
    given = _GIVES[_gives(recognizer)]
    if made.needs not in given:
        able = [one for one in METHODS if method_named(one).needs in given]
        raise InputError(
            f"{name}: needs {made.needs}, which {recognizer.name} does not give; available: {', '.join(able)}"
        )
    if settings.calls is not None and not made.counted:
        counted = [one for one in METHODS if method_named(one).counted]
        raise InputError(
            f"{name}: its number of calls is fixed; calls can be set for {', '.join(counted)}"
        )
    return made.create(name, recognizer, settings)


def pair_target(recognizer: Recognizer, mates: Chips) -> Target:
    """The target ``reference`` of faces: the similarity with their mates' aligned faces ``(B, h, w, 3)``."""
    if _gives(recognizer) == "scores":
        return PictureTarget(torch.as_tensor(mates))
    return reference_target(recognizer.embed(mates), recognizer.card.similarity)


def evidence(method: Method, chips: Chips, target: Target) -> tuple[Maps, Tensor | None]:
    """What supports a target's score, and what lowers it.

    Args:
        method: The method.
        chips: Aligned faces, ``(B, h, w, 3)``.
        target: For a pair, the similarity with the mates.

    Returns:
        The maps, and the overall maps ``(B, h, w)`` of the negated target; None if both are the same, as for methods
        that map magnitudes, such as ``input-gradients``.
    """
    maps, against = method.explain(chips, target), method.explain(chips, negated(target)).overall
    return maps, None if torch.allclose(maps.overall, against, rtol=1e-4, atol=1e-8) else against


Scorer = Callable[[int, Tensor], Tensor]
"""From a face's row and changed copies of it ``(n, h, w, 3)`` to the target's scores of these, ``(n,)``."""


def scorer(recognizer: Recognizer, chips: Chips, target: Target) -> Scorer:
    """The target's scores of changed copies of faces, for methods that need no gradients.

    Of a black box that gives only scores, ``self`` is the score of a changed face with the unchanged one.

    Args:
        recognizer: The recognizer.
        chips: The unchanged faces, ``(B, h, w, 3)``.
        target: Their target.

    Raises:
        InputError: The target needs embeddings that the recognizer does not give, or the whole batch at once.
    """
    if isinstance(recognizer, BlackBox) and recognizer.returns == "scores":
        return _comparisons(recognizer, chips, target)
    if not isinstance(target, RowTarget):
        raise InputError(
            "the method hides parts of one face after another, which needs a target of each face"
        )
    count, fixed = len(chips), anchored(target, recognizer.embed(chips))

    def score(row: int, changed: Tensor) -> Tensor:
        embeddings = recognizer.embed(changed, range=_USUAL)
        rows = torch.full((len(changed),), row, device=embeddings.device)
        return fixed.rows(rows, count)(embeddings)

    return score


def _comparisons(box: BlackBox, chips: Chips, target: Target) -> Scorer:
    sign, inner = (-1, target.target) if isinstance(target, Negated) else (1, target)
    if inner is self_target:
        mates = torch.as_tensor(chips)
    elif isinstance(inner, PictureTarget):
        mates = inner.pictures
    else:
        raise InputError(
            f"{box.name}: gives only scores of two pictures; explain the target self or reference"
        )

    def score(row: int, changed: Tensor) -> Tensor:
        return sign * box.compare(changed, mates[row].expand_as(changed), range=_USUAL)

    return score


def _gives(recognizer: Recognizer) -> Needs:
    if isinstance(recognizer, BlackBox):
        return recognizer.returns
    return "gradients"


def explained(method: Method, *, alone: bool = False) -> MateMaps:
    """A method as a function of faces and the embeddings of their mates.

    Args:
        method: The method.
        alone: Explain each face's own embedding (the ``self`` target) and ignore its mate.
    """
    kind = method.recognizer.card.similarity

    def maps(chips: Chips, mates: Tensor) -> Tensor:
        return method.explain(
            chips, self_target if alone else reference_target(mates, kind)
        ).overall

    return maps
