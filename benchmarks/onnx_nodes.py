"""Run the ONNX project's node tests on every operator that the importer supports, and publish the counts.

    python benchmarks/onnx_nodes.py --page docs/howto/your-onnx-file.md

The cases come with the ``onnx`` package. Each runs twice: with the first input given at run time and the others stored
in the file, as a network has them, and with all inputs given at run time. A case passes if both equal the expected
outputs; it is refused if the importer says what it does not support.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from markdown import show
from onnx import numpy_helper

from leam.errors import LeamError
from leam.recognizers.onnx.importer import UNSUPPORTED, Importer, nodes_of
from leam.recognizers.onnx.operators import OPERATORS
from leam.recognizers.onnx.reading import STANDARD_DOMAINS, opset_of, to_tensor
from leam.recognizers.onnx.rewrites import REWRITES

PASSED, REFUSED, WRONG = "passed", "refused", "wrong"
# Numbers of less than single precision are computed in single precision.
_TOLERANCES = {"bfloat16": 1e-2}
# The relative error that the ONNX project allows.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Outcome:
    """The result of a case.

    Attributes:
        name: The case's name.
        operators: The operators in it.
        kind: passed, refused or wrong.
        reason: Why it is refused, or the difference.
    """

    name: str
    operators: tuple[str, ...]
    kind: str
    reason: str = ""


def supported_cases() -> Iterator[Any]:
    """The node tests all of whose operators the importer supports in some form."""
    from onnx.backend.test.case.node import collect_testcases  # noqa: PLC0415  takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        if case.model is None:
            continue
        names = operators_of(case.model)
        if all(name in OPERATORS or name in REWRITES for name in names):
            yield case


def operators_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """The operators of a model, each once."""
    return tuple(
        dict.fromkeys(
            node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"
            for node in model.graph.node
        )
    )


def run_case(case: Any) -> Outcome:  # noqa: ANN401
    """Run a case in both ways."""
    found = operators_of(case.model)
    for stored in (True, False):
        for inputs, outputs in case.data_sets:
            try:
                results = _run(case.model, inputs, stored=stored)
            except (LeamError, NotImplementedError, TypeError) as error:
                return Outcome(case.name, found, REFUSED, str(error))
            for name, ours, theirs in zip(
                [value.name for value in case.model.graph.output], results, outputs, strict=True
            ):
                if difference := _difference(ours, theirs):
                    return Outcome(case.name, found, WRONG, f"{name}: {difference}")
    return Outcome(case.name, found, PASSED)


def _run(model: onnx.ModelProto, inputs: Sequence[Any], *, stored: bool) -> list[torch.Tensor]:
    """The outputs of a model; all inputs but the first may be stored in it."""
    names = [value.name for value in model.graph.input]
    values = dict(zip(names, map(_tensor, inputs), strict=True))
    given = names[:1] if stored else names
    constants = {tensor.name: to_tensor(tensor) for tensor in model.graph.initializer}
    constants |= {name: values[name] for name in names if name not in given}
    targets = [value.name for value in model.graph.output]
    importer = Importer("case", constants, {name: values[name] for name in given})
    with torch.no_grad():
        importer.add(nodes_of(model.graph, opset_of(model)), targets)
    return [importer.value(name) for name in targets]


def _tensor(value: Any) -> torch.Tensor:  # noqa: ANN401
    if isinstance(value, onnx.TensorProto):
        return to_tensor(value)
    if not isinstance(value, np.ndarray | np.generic):
        raise NotImplementedError(f"an input of type {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        raise NotImplementedError("an input of text")
    return to_tensor(numpy_helper.from_array(array))


def _difference(ours: torch.Tensor, theirs: Any) -> str:  # noqa: ANN401
    """How an output differs from the expected one; empty if it does not."""
    expected = numpy_helper.to_array(theirs) if isinstance(theirs, onnx.TensorProto) else theirs
    expected = np.asarray(expected)
    found = ours.numpy()
    if found.shape != expected.shape:
        return f"shape {found.shape}, expected {expected.shape}"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    tolerance = _TOLERANCES.get(expected.dtype.name, _TOLERANCE)
    if np.allclose(a, b, rtol=tolerance, atol=1e-5, equal_nan=True):
        return ""
    return f"differs by up to {np.nanmax(np.abs(a - b)):.3g}"


def table(outcomes: Sequence[Outcome]) -> str:
    """The counts, and the reasons of refusals by operator."""
    counts = Counter(outcome.kind for outcome in outcomes)
    refused = defaultdict(list)
    for outcome in outcomes:
        if outcome.kind == REFUSED:
            refused[_short(outcome.reason)].append(outcome.name)
    found = (
        f"onnx {onnx.__version__} has {len(outcomes)} node tests of the operators above: {counts[PASSED]} pass, "
        f"{counts[REFUSED]} are refused with the reason, {counts[WRONG]} are wrong."
    )
    lines = [found, "", "| reason | cases |", "|---|---|"]
    for reason, names in sorted(refused.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {reason} | {len(names)} |")
    return "\n".join(lines)


def _short(reason: str) -> str:
    return (reason.partition("operator ")[2] or reason).removesuffix(UNSUPPORTED)


def main() -> None:
    """Run all cases, print what is wrong, and write the counts into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    outcomes = [run_case(case) for case in supported_cases()]
    for outcome in outcomes:
        if outcome.kind == WRONG:
            print(f"{outcome.name}: {outcome.reason}")
    show(table(outcomes), arguments.page, "node tests")


if __name__ == "__main__":
    main()
