"""The blocks of residual networks, from the sums of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from leam.explain.grid import Value


def block_ends(sums: Sequence[Value]) -> dict[Value, set[Value]]:
    """The sums that end the blocks of a residual network that are explained as a whole, as a transformer's.

    A sum ends a branch if one summand was computed from the other. An operation belongs to the smallest branch around
    it. A branch with attention of its own is a block, with the convolutions that belong to it; so is a branch without
    convolutions. Other branches with a convolution are left to the convolutions. A branch that mixes places, such as
    attention, and the next one, if it neither mixes places nor convolves (a multilayer perceptron), are one block.

    If only a ReLU reads the sum at the end of a block, the block ends after the ReLU. The gradient is zero where the
    ReLU gives zero, so the products of activations and gradients are the same.

    Args:
        sums: The sums of two tensors of one shape in a forward pass.

    Returns:
        The ends in the order of execution, each with the convolutions that belong to the block's attention.
    """
    branches = _branches(sums)
    smallest: dict[Value, Value] = {}
    for value, branch in sorted(branches.items(), key=lambda item: len(item[1]), reverse=True):
        smallest.update(dict.fromkeys(branch, value))
    attending = {end for step, end in smallest.items() if step.attends}
    ends: dict[Value, set[Value]] = {}
    for index, (value, branch) in enumerate(branches.items()):
        convolutions = {step for step in branch if step.convolves}
        if convolutions and value not in attending:
            continue
        own = {step for step in convolutions if smallest[step] is value}
        end = value
        if any(step.mixes for step in branch):
            later = (
                (after, _between_values(value, after)) for after in list(branches)[index + 1 :]
            )
            after, steps = next((one for one in later if one[1] is not None), (value, None))
            if steps is not None and not any(step.mixes or step.convolves for step in steps):
                end = after
        if end is value or not any(step.convolves for step in branches[end]):
            ends.setdefault(_rectified(end), set()).update(own)
    return ends


def residual_sums(sums: Sequence[Value]) -> set[Value]:
    """The sums that end a branch: one summand was computed from the other.

    Args:
        sums: As for :func:`block_ends`.
    """
    return set(_branches(sums))


def _branches(sums: Sequence[Value]) -> dict[Value, set[Value]]:
    return {value: branch for value in sums if (branch := _branch(value)) is not None}


def _rectified(value: Value) -> Value:
    """The ReLU of a value if nothing else reads it, else the value itself."""
    alone = len(value.readers) == 1 and value.readers[0].rectifies
    return value.readers[0] if alone else value


def _branch(value: Value) -> set[Value] | None:
    """The values between a sum and its summand from which the other one was computed; None if neither was.

    A branch without a product of matrices is none: it is a formula of an activation, such as ``x + 0.0447 x**3``.
    """
    assert value.summands  # noqa: S101
    one, other = value.summands
    if one is other:
        return None
    skip, end = (one, other) if one.number < other.number else (other, one)
    steps = _between_values(_unrounded(skip), end)
    return steps if steps and any(step.contracts or step.mixes for step in steps) else None


def _unrounded(value: Value) -> Value:
    """What a value was before it was quantised; a quantised graph may quantise it anew for each reader."""
    before, rounds = value, False
    while before.pointwise:
        rounds |= before.rounds
        (before,) = before.sources
    return before if rounds else value


def ancestors(value: Value) -> set[Value]:
    """A value and all that it was computed from."""
    found, waiting = {value}, [value]
    while waiting:
        new = [source for source in waiting.pop().sources if source not in found]
        found.update(new)
        waiting.extend(new)
    return found


def _between_values(start: Value, end: Value) -> set[Value] | None:
    """The values that were computed after a value and lead to a later one, with it; None if it does not."""
    found, waiting, reached = {end}, [end], False
    while waiting:
        for source in waiting.pop().sources:
            reached |= source is start
            if source.number > start.number and source not in found:
                found.add(source)
                waiting.append(source)
    return found if reached else None
