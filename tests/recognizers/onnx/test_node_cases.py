"""The ONNX project's own node tests: every case passes, or is refused with its reason."""

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from leam.recognizers.onnx.operators import OPERATORS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "howto" / "your-onnx-file.md"


@pytest.fixture(scope="module")
def outcomes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec = importlib.util.spec_from_file_location(
            "onnx_nodes", ROOT / "benchmarks" / "onnx_nodes.py"
        )
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "onnx_nodes", module)
        spec.loader.exec_module(module)
        return [module.run_case(case) for case in module.supported_cases()]


@pytest.mark.slow
def test_no_case_is_wrong_and_most_pass(outcomes):
    assert [outcome for outcome in outcomes if outcome.kind == "wrong"] == []
    counts = Counter(outcome.kind for outcome in outcomes)
    assert counts["passed"] > 5 * counts["refused"]
    for outcome in outcomes:
        if outcome.kind == "refused":
            assert re.search(
                r"operator \S+ (is not supported|cannot run) \(.+\)|^an input of", outcome.reason
            ), outcome


@pytest.mark.parametrize(
    ("operator", "opset", "shapes", "attributes"),
    [
        ("Resize", 18, [(1, 2, 3, 4), None, (4,)], {"mode": "cubic", "antialias": True}),
        ("ConvTranspose", 11, [(1, 2, 3, 3), (2, 2, 2, 2)], {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
        ("GroupNormalization", 21, [(1, 4, 2, 2), (4,), (4,)], {"num_groups": 2}),
        ("LRN", 13, [(1, 4, 2, 2)], {"size": 3, "alpha": 0.5}),
        ("Attention", 23, [(1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)], {"is_causal": True}),
        ("AveragePool", 19, [(1, 2, 5, 5)], {"kernel_shape": [3, 3], "ceil_mode": True, "pads": [0, 1, 1, 0]}),
        ("Pad", 19, [(2, 3)], {"mode": "reflect"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_gradients_equal_finite_differences(operator, opset, shapes, attributes):
    generator = torch.Generator().manual_seed(0)
    values = [
        None if shape is None else torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in shapes
    ]
    if operator == "Resize":
        values[2] = torch.tensor([1, 1, 0.6, 1.7])
    if operator == "Pad":
        values.append(torch.tensor([0, 1, 1, 2]))
    declaration = OPERATORS.find(operator, opset)
    keywords = declaration.accept(attributes, len(values), (True,))
    # Operators compute in single precision, whose finite differences are rough.
    given = [v.float() if v is not None and v.is_floating_point() else v for v in values]
    x = given[0].requires_grad_()

    def run(x):
        out = declaration.function(x, *given[1:], **keywords)
        return out[0] if isinstance(out, tuple) else out

    direction = torch.randn(x.shape, generator=generator)
    weights = torch.randn(run(x).shape, generator=generator)
    (gradient,) = torch.autograd.grad((run(x) * weights).sum(), x)
    with torch.no_grad():
        ahead, behind = (((run(x + s * direction)) * weights).sum() for s in (1e-2, -1e-2))
    expected = (ahead - behind) / 2e-2
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=2e-2, atol=2e-2)
