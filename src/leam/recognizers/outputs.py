"""The embedding among the outputs of a module: a tensor, or a container of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor

from leam.errors import ModelError
from leam.recognizers.card import Card

# Containers in containers; objects may contain themselves.
_DEEPEST = 3


def embedding_of(card: Card, output: object) -> Tensor:
    """The embedding ``(B, ...)`` in what a module returned.

    A tensor is the embedding. In a container (tuple, list, mapping, dataclass or other object, also nested), it is the
    one that ``card.output`` names; without that, the only tensor, or the only one of ``card.embedding_size``.

    Raises:
        ModelError: There is no such output, or which one is the embedding is not clear; the message lists them.
    """
    if isinstance(output, Tensor):
        return output
    found = dict(_tensors(output))
    if card.output is not None:
        name = _named(card.output, output, found)
        if name in found:
            return found[name]
        raise ModelError(f"{card.name}: the module has no output {card.output!r}; {_listed(found)}")
    if len(found) > 1 and card.embedding_size:
        found = {
            name: tensor
            for name, tensor in found.items()
            if tensor.shape[1:].numel() == card.embedding_size
        } or found
    if len(found) == 1:
        return next(iter(found.values()))
    kind = type(output).__name__
    if not found:
        raise ModelError(
            f"{card.name}: the module returns a {kind} without a tensor; return the tensor with the embedding, or use "
            "leam.BlackBox, which takes arrays"
        )
    first = next(iter(found))
    example = first if first.isdigit() else f'"{first}"'
    raise ModelError(
        f"{card.name}: the module returns several tensors (in a {kind}); {_listed(found)}. "
        f"Say in the card which is the embedding, such as output = {example}"
    )


def _named(wanted: str | int, output: object, found: Mapping[str, Tensor]) -> str:
    """The name of the wanted output; an index also counts named outputs, from the end if it is negative."""
    keys = [str(key) for key, _ in _items(output)]
    if isinstance(wanted, int) and str(wanted) not in found and -len(keys) <= wanted < len(keys):
        return keys[wanted]
    return str(wanted)


def _tensors(output: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a container by name; those of nested containers have dotted names."""
    if isinstance(output, Tensor):
        yield name, output
    elif depth < _DEEPEST:
        for key, value in _items(output):
            yield from _tensors(value, f"{name}.{key}" if name else str(key), depth + 1)


def _items(output: object) -> Iterator[tuple[object, object]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        yield from zip(output._fields, output, strict=True)
    elif isinstance(output, list | tuple):
        yield from enumerate(output)
    elif dataclasses.is_dataclass(output):
        yield from (
            (field.name, getattr(output, field.name)) for field in dataclasses.fields(output)
        )
    elif hasattr(output, "__dict__"):
        yield from vars(output).items()


def _listed(found: Mapping[str, Tensor]) -> str:
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in found.items()]
    return f"available: {', '.join(shapes) or 'none'}"
