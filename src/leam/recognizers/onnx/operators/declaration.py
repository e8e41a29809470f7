"""Operators by name and opset. The signature of an operator's function declares what is supported.

The positional parameters of the function are the node's inputs: one without a default is required, ``*`` takes any
number, and an omitted input is None. The keyword-only parameters are the node's attributes, with their types and
defaults. A node with any other input, attribute or value is refused by name. The parameter ``outputs`` alone is no
attribute: it says for each output of the node whether it is read.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

Operator = Callable[..., Any]
"""From inputs and attributes to an output tensor or a tuple of output tensors."""
F = TypeVar("F", bound=Operator)

MICROSOFT = "com.microsoft."
"""The domain of the operators that onnxruntime contributes (ContribOperators.md in its repository)."""
OUTPUTS = "outputs"
# An expanded tensor of a few bytes may have billions.
_MOST_NUMBERS = 1 << 16


class Declaration:
    """An operator's function from an opset on.

    Attributes:
        name: The ONNX name of the operator.
        function: Computes the operator.
        since: The opset of the standard operators from which on the function is valid.
        leading: The number of parameters before the inputs.
    """

    def __init__(self, name: str, function: Operator, since: int, leading: int = 0) -> None:
        self.name, self.function, self.since, self.leading = name, function, since, leading

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())[self.leading :]

    @cached_property
    def inputs(self) -> list[inspect.Parameter]:
        """The parameters that are inputs; the last may take any number."""
        positional = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        return [each for each in self._parameters if each.kind in positional]

    @cached_property
    def attributes(self) -> dict[str, inspect.Parameter]:
        """The parameters that are attributes."""
        only = inspect.Parameter.KEYWORD_ONLY
        return {each.name: each for each in self._parameters if each.kind == only}

    @cached_property
    def _types(self) -> dict[str, TypeAdapter[Any]]:
        hints = get_type_hints(self.function)
        config = ConfigDict(arbitrary_types_allowed=True)
        return {name: TypeAdapter(hints[name], config=config) for name in self.attributes}

    def accept(
        self, attributes: Mapping[str, Any], inputs: int, outputs: tuple[bool, ...]
    ) -> dict[str, Any]:
        """The keyword arguments of the function: all attributes, and ``outputs`` if it asks for them.

        Args:
            attributes: The node's attributes.
            inputs: The number of the node's inputs.
            outputs: Whether each output of the node is read.

        Raises:
            NotImplementedError: An attribute, its value or an input is not supported.
            ValueError: A required attribute or input is missing.
        """
        self._check_inputs(inputs)
        passes_on = self._parameters[-1:] and (
            self._parameters[-1].kind == inspect.Parameter.VAR_KEYWORD
        )
        accepted = {}
        for name, value in attributes.items():
            if name in self.attributes and name != OUTPUTS:
                accepted[name] = self._value(name, value)
            elif passes_on:
                accepted[name] = value
            else:
                raise NotImplementedError(f"attribute {name} = {reprlib.repr(value)}")
        for name, parameter in self.attributes.items():
            if name == OUTPUTS:
                accepted[name] = outputs
            elif name not in accepted:
                if parameter.default is parameter.empty:
                    raise ValueError(f"attribute {name} is missing")
                accepted[name] = parameter.default
        return accepted

    def _check_inputs(self, count: int) -> None:
        several = self.inputs and self.inputs[-1].kind == inspect.Parameter.VAR_POSITIONAL
        if count > len(self.inputs) and not several:
            raise NotImplementedError(f"with {count} inputs; supported: {len(self.inputs)}")
        for parameter in self.inputs[count:]:
            if parameter.default is parameter.empty and not (several and count):
                raise ValueError(f"input {parameter.name} is missing")

    def _value(self, name: str, value: Any) -> Any:  # noqa: ANN401
        try:
            return self._types[name].validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise NotImplementedError(
                f"attribute {name} = {reprlib.repr(value)}: {reason[:1].lower()}{reason[1:]}"
            ) from None


class Operators(dict[str, list[Declaration]]):
    """Declarations by operator, the newest first. Operators of other domains have their domain as prefix.

    Args:
        leading: The number of parameters of the functions that come before the inputs.
    """

    def __init__(self, leading: int = 0) -> None:
        super().__init__()
        self._leading = leading

    def implements(self, *names: str, since: int = 1) -> Callable[[F], F]:
        """Register a function for operators, from an opset on; used as a decorator."""

        def register(function: F) -> F:
            for name in names:
                versions = [*self.get(name, []), Declaration(name, function, since, self._leading)]
                self[name] = sorted(versions, key=lambda each: each.since, reverse=True)
            return function

        return register

    def find(self, operator: str, opset: int) -> Declaration:
        """The declaration of an operator in an opset.

        Raises:
            NotImplementedError: The operator is not supported, or only in later opsets.
        """
        if operator not in self:
            raise NotImplementedError
        for declaration in self[operator]:
            if declaration.since <= opset:
                return declaration
        raise NotImplementedError(f"in opset {opset}")


OPERATORS = Operators()
"""The operators that are computed, by their ONNX name."""
implements = OPERATORS.implements


def declared(operator: str, opset: int) -> Declaration:
    """The declaration of an operator that is computed; modules are sent to other processes with its name."""
    return OPERATORS.find(operator, opset)


def together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors on one device: values computed from shapes are on the CPU."""
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    return tensors if device is None else tuple(tensor.to(device) for tensor in tensors)


def numbers(values: Tensor) -> list[Any]:
    """The numbers of a tensor of one axis, such as a shape or axes.

    Raises:
        ValueError: They are more than a shape or a list of places has.
    """
    if values.numel() > _MOST_NUMBERS:
        raise ValueError(f"a list of {values.numel()} numbers")
    found: list[Any] = values.tolist()
    return found
