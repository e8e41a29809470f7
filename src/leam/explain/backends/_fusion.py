"""Find the convolutions, normalisations and activations of a network that can run as one operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from leam.explain.affine import version_of
from leam.explain.backends._operations import ACTIVATION, AFFINE, kind
from leam.explain.identity import Identities
from leam.explain.layers import Layer

Chain = dict[str, nn.Module]
"""Modules by name that run one after another, each on the output of the one before and on nothing else: at most one
convolution, then normalisations, then activations."""


@dataclass
class _Call:
    """One call of a module that may be part of a chain; ``input`` and ``output`` are numbers of tensors.

    They are None where there is not a single tensor.
    """

    name: str
    module: nn.Module
    input: int | None
    output: int | None = None


class _Trace(TorchFunctionMode):
    """Records the calls of modules in a forward pass, and how often each tensor is read."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self.reads: Counter[int] = Counter()
        self.number = Identities().of

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Run any function of torch, and count the tensors that it reads."""
        values = [*args, *(kwargs or {}).values()]
        lists = [value if isinstance(value, tuple | list) else [value] for value in values]
        inputs = [(t, version_of(t)) for t in chain.from_iterable(lists) if isinstance(t, Tensor)]
        result = func(*args, **(kwargs or {}))
        # A shape or a device is no value, and a move to the same device returns the tensor itself.
        if isinstance(result, Tensor | tuple | list | float):
            for tensor, version in inputs:
                if result is not tensor or version_of(tensor) != version:
                    self.reads[self.number(tensor)] += 1
        return result

    def before(self, name: str, module: nn.Module, inputs: tuple[object, ...]) -> object:
        """Record a call. The module runs on a copy, so that an in-place operation returns another tensor."""
        single = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
        self.calls.append(_Call(name, module, None if single is None else self.number(single)))
        return None if single is None else (single.clone(),)

    def after(self, _module: nn.Module, _inputs: object, output: object) -> None:
        """Record the output of the last call."""
        self.calls[-1].output = self.number(output) if isinstance(output, Tensor) else None


def find_chains(
    module: nn.Module, inputs: Tensor, layers: Sequence[Layer] = ()
) -> tuple[Chain, ...]:
    """Find the chains of a network by running it once.

    Each of their modules is called once, in evaluation mode, without hooks, and nothing else reads the tensors in
    between. The values of ``inputs``, ``(1, 3, h, w)``, do not matter. Where layers are taken within a chain, it is at
    the input of its activation.
    """
    trace, returned = _traced(module, inputs)
    times = Counter(call.name for call in trace.calls)
    calls = [call for call in trace.calls if times[call.name] == 1 and call.input is not None]
    readers = {call.input: call for call in calls}
    explained = {layer.module for layer in layers}
    chains: list[Chain] = []
    taken: set[str] = set()
    for call in calls:
        if call.name in taken:
            continue
        members = [call]
        while following := _next(members[-1], trace, readers, returned):
            if _ends(members[-1], following, explained):
                break
            members.append(following)
        found = {member.name: member.module for member in members}
        taken.update(found)
        # A lone activation is as fast in torch.
        if kind(call.module) != ACTIVATION:
            chains.append(found)
    return tuple(chains)


def _ends(call: _Call, following: _Call, explained: Collection[str]) -> bool:
    """Whether a chain ends between two calls, since it cannot show what is explained there."""
    if kind(following.module) == ACTIVATION:
        return following.name in explained
    return call.name in explained


def _traced(module: nn.Module, inputs: Tensor) -> tuple[_Trace, set[int]]:
    """The trace of a forward pass, and the numbers of the tensors that it returns."""
    trace = _Trace()
    with ExitStack() as hooks, torch.no_grad():
        for name, child in module.named_modules():
            if suits(child):
                hooks.enter_context(child.register_forward_pre_hook(partial(trace.before, name)))
                hooks.enter_context(child.register_forward_hook(trace.after))
        with trace:
            output = module(inputs.clone())
    return trace, {trace.number(leaf) for leaf in tree_leaves(output) if isinstance(leaf, Tensor)}


def _next(
    call: _Call, trace: _Trace, readers: Mapping[int | None, _Call], returned: Collection[int]
) -> _Call | None:
    """The call that continues a chain: it alone reads the output of this one, and its kind may follow."""
    if call.output is None:
        return None
    following = readers.get(call.output)
    alone = call.output not in returned and trace.reads[call.output] == 1
    if not alone or not following or kind(following.module) < max(kind(call.module), AFFINE):
        return None
    # Limits in a row are limits, but a PReLU with another activation is not one activation.
    prelu = isinstance(call.module, nn.PReLU) or isinstance(following.module, nn.PReLU)
    return None if prelu and kind(call.module) == ACTIVATION else following


def suits(module: nn.Module) -> bool:
    """Whether a module has a kind, is in evaluation mode, and has no hooks or other forward function."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    state = vars(module)
    modified = module.training or "forward" in state or any(map(state.get, hooks))
    return kind(module) != 0 and not modified
