"""The method: layer maps and the overall map of a recognizer, in one forward and one backward pass.

The package can be called: ``leam.explain("ada.jpg")`` is :func:`leam.explain.explain`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from inspect import Signature

    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor, nn

    from leam.explain.explanation import Explanation
    from leam.faces.detection import Detector
    from leam.faces.face import Face
    from leam.faces.pictures import Source
    from leam.parsers.parsing import Parser
    from leam.recognizers.card import Card
    from leam.recognizers.chips import Layout, Range
    from leam.recognizers.recognizer import Recognizer

    AnyRecognizer = str | Path | Card | Recognizer | nn.Module
    AnyPicture = Source | Face
    S = TypeVar("S", bound=AnyPicture)


@overload
def explain(
    faces: str | Path | Image | Face,
    recognizer: AnyRecognizer | None = None,
    *,
    with_: AnyPicture | None = None,
    method: str = ...,
    parser: str | Parser | None = None,
    detector: str | Detector | None = None,
    top: float = ...,
) -> Explanation: ...
@overload
def explain(
    faces: list[S] | tuple[S, ...],
    recognizer: AnyRecognizer | None = None,
    *,
    with_: AnyPicture | list[S] | tuple[S, ...] | None = None,
    method: str = ...,
    parser: str | Parser | None = None,
    detector: str | Detector | None = None,
    top: float = ...,
) -> list[Explanation]: ...
@overload
def explain(
    faces: NDArray[Any] | Tensor,
    recognizer: AnyRecognizer | None = None,
    *,
    with_: AnyPicture | None = None,
    method: str = ...,
    parser: str | Parser | None = None,
    detector: str | Detector | None = None,
    range: Range | None = None,
    layout: Layout | None = None,
    top: float = ...,
) -> Any: ...  # noqa: ANN401  of a picture an Explanation, of a batch a list of them
def explain(
    faces: AnyPicture | list[S] | tuple[S, ...],
    recognizer: AnyRecognizer | None = None,
    *,
    with_: AnyPicture | list[S] | tuple[S, ...] | None = None,
    method: str = "leam",
    parser: str | Parser | None = None,
    detector: str | Detector | None = None,
    range: Range | None = None,  # noqa: A002  the word for it
    layout: Layout | None = None,
    top: float = 0.01,
) -> Explanation | list[Explanation]:
    """Explain which parts of a face a recognizer relies on.

    The face of each picture is found and aligned. For more control, see :func:`leam.explain_faces`.

    Args:
        faces: A picture: a file, a PIL image, an RGB array or tensor ``(H, W, 3)`` uint8, or a :class:`leam.Face`; or a
            list of pictures. Or a batch of aligned faces, which are not detected: an array or tensor ``(B, h, w, 3)``,
            RGB, 0-255; other values and layouts must be stated by ``range`` and ``layout``. Aligned faces are rounded
            to 8 bits.
        recognizer: A name or card, as for :func:`leam.load_recognizer`, a :class:`leam.Recognizer`, or, for a batch, a
            module. A module gets the batch as it is given: floats ``(B, 3, h, w)`` with the module's own scaling, which
            ``range`` states, and faces aligned like ArcFace's. Write a :class:`leam.Recognizer` for other modules.
        with_: Explain the similarity with the face in this picture, or of a batch with these aligned faces, one for
            each. Each explanation then has a ``mate``, of the other face.
        method: Name of the attribution method; see :mod:`leam.explain.methods`.
        parser: Finds the regions; the default parser unless given.
        detector: Finds the faces; the default detector unless given. ``aligned`` takes pictures that are aligned faces.
        range: Of a batch: the values that stand for black and white, such as ``(0, 1)``.
        layout: Of a batch: ``BCHW`` for ``(B, 3, h, w)``.
        top: The critical fraction of the pixels, in (0, 1].

    Returns:
        The explanation; of a list or a batch, a list of explanations.

    Raises:
        LeamError: A picture cannot be read or shows no clear face, a face has no map, or something that is named does
            not exist. The message says which, and the way out.

    Example:
        >>> leam.explain("ada.jpg").save("ada")
        >>> leam.explain(["ada.jpg", "bob.jpg"], "sface")
        >>> leam.explain("ada.jpg", with_="bob.jpg").decision
        >>> leam.explain(batch, module, range=(-1, 1))
    """
    # The library is imported here, since ``import leam.explain`` must be quick.
    from leam.explain.simple import Request  # noqa: PLC0415

    return Request(recognizer, method, parser, detector, range, layout, top).explain(faces, with_)


class _Package(ModuleType):
    """The package as a function: the commonest work in one call, beside the modules of the package."""

    __call__ = staticmethod(explain)

    @property
    def __signature__(self) -> Signature:
        # Without it, inspect takes the first parameter for the package itself.
        from inspect import signature  # noqa: PLC0415

        return signature(explain)


sys.modules[__name__].__class__ = _Package
