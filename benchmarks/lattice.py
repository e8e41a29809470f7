r"""Measure the lattice that strided layers leave in maps, and remedies against it.

    python benchmarks/lattice.py FACES --models dlib_resnet,examples/cards/mobileface_v2.toml \
        --out benchmarks/lattice.json --page docs/appendices/lattice.md

A convolution or pooling with a stride reads the cells of its input unevenly, and gradients before it
repeat with the period of the stride: two cells of the layer's grid, that is four, eight or sixteen
pixels of the input where the first convolution has a stride of two. For each recognizer and remedy: the
excess power of the overall map at the period of two cells of each grid, the number of pieces of the
critical 1 %, and the part of it in the largest piece. An edge map, without a network, is the control.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench, find_faces, layer_maps, make_bench, write_whole
from markdown import show
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from leam.explain.aggregates import AGGREGATES, binomial, distribution
from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.explain.targets import self_target
from leam.metrics.controls.edges import edge_map
from leam.metrics.occlusion import pieces
from leam.recognizers.catalogue import load_recognizer

PEOPLE = 20
WEIGHTING, AGGREGATE = "positive", "sizes"
# On coarser grids, the period is as long as the distances between the parts of a face.
FEWEST_CELLS = 12
# Frequencies beside that of a lattice, in cycles per picture, whose power is the local background.
BESIDE = (-3.0, -2.5, -2.0, 2.0, 2.5, 3.0)


def filtered(maps: Tensor, kernel: Tensor) -> Tensor:
    """Maps ``(B, h, w)`` after a symmetric filter of odd length along both axes; the border is repeated."""
    reach = len(kernel) // 2
    both = kernel[:, None] * kernel
    padded = functional.pad(maps[:, None], (reach,) * 4, mode="replicate")
    return functional.conv2d(padded, both[None, None])[:, 0]


def gaussian(width: float) -> Tensor:
    """A Gaussian filter of a standard deviation in cells."""
    place = torch.arange(-np.ceil(3 * width), np.ceil(3 * width) + 1)
    kernel = torch.exp(-(place**2) / (2 * width**2))
    return kernel / kernel.sum()


def box(width: int) -> Tensor:
    """The mean over ``width`` cells, which removes every period that divides it; centred for even widths too."""
    kernel = torch.ones(width + 1 - width % 2)
    if width % 2 == 0:
        kernel[[0, -1]] = 0.5
    return kernel / width


def remaining_strides(layers: Sequence[Tensor]) -> list[float]:
    """The strides between each layer and the smallest grid, in cells of the layer."""
    smallest = min(one.shape[1] for one in layers)
    return [one.shape[1] / smallest for one in layers]


def by_stride(kernel: Callable[[float], Tensor]) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Filter each layer but those of the smallest grid by a kernel that depends on its remaining stride."""
    return lambda layers: [
        filtered(one, kernel(stride)) if stride > 1 else one
        for one, stride in zip(layers, remaining_strides(layers), strict=True)
    ]


def equalised(layers: Sequence[Tensor]) -> list[Tensor]:
    """Layer maps whose even and odd rows and columns have the same mean, but for layers of the smallest grid."""
    strides = remaining_strides(layers)
    return [
        equalise(one) if stride > 1 else one for one, stride in zip(layers, strides, strict=True)
    ]


def equalise(maps: Tensor) -> Tensor:
    """Maps ``(B, h, w)`` whose four classes of cells (even or odd row, even or odd column) have the same mean."""
    found, means = maps.clone(), maps.mean(dim=(1, 2), keepdim=True)
    for row, column in product((0, 1), repeat=2):
        cells = found[:, row::2, column::2]
        cells *= means / cells.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return found


REMEDIES: dict[str, Callable[[Sequence[Tensor]], list[Tensor]]] = {
    "none": list,
    "equalised": equalised,
    "binomial": lambda layers: [binomial(one) for one in layers],
    "binomial, twice": lambda layers: [binomial(binomial(one)) for one in layers],
    "gaussian, 1 cell": lambda layers: [filtered(one, gaussian(1.0)) for one in layers],
    "gaussian, quarter of the stride": by_stride(lambda stride: gaussian(stride / 4)),
    "box, stride": by_stride(lambda stride: box(round(stride))),
}
"""Remedies that filter layer maps, the simplest first."""


class _Blurred(torch.autograd.Function):
    """The identity, whose gradient is smoothed."""

    @staticmethod
    def forward(_context: object, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(_context: object, *gradients: Tensor) -> Tensor:
        return binomial(gradients[0].flatten(0, 1)).view_as(gradients[0])


@contextmanager
def smoothed_gradients(module: nn.Module) -> Iterator[None]:
    """Smooth the gradients at the inputs of strided convolutions and poolings."""

    def blur(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_Blurred.apply(inputs[0]), *inputs[1:])  # type: ignore[no-untyped-call]

    kinds = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
    strided = [
        child for child in module.modules() if isinstance(child, kinds) and np.max(child.stride) > 1
    ]
    handles = [child.register_forward_pre_hook(blur) for child in strided]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def power(lines: Tensor, frequency: float) -> float:
    """Mean power of lines ``(..., n)`` at a frequency in cycles per line, through a Hann window."""
    place = (torch.arange(lines.shape[-1]) + 0.5) / lines.shape[-1]
    window = 1 - torch.cos(2 * np.pi * place)
    wave = window * torch.exp(-2j * np.pi * frequency * place)
    return float(
        ((lines - lines.mean(-1, keepdim=True)).to(wave.dtype) @ wave).abs().square().mean()
    )


def excess(overall: Tensor, cells: int) -> float:
    """Power at a period of two cells of a grid, divided by the power beside it; the mean of both axes.

    Args:
        overall: ``(n, h, w)``.
        cells: The grid's number of cells along the height.
    """
    ratios = []
    for lines in (overall.transpose(1, 2), overall):
        frequency = cells / overall.shape[1] * lines.shape[-1] / 2
        beside = [np.log(power(lines, frequency + step)) for step in BESIDE if frequency + step > 1]
        ratios.append(power(lines, frequency) / np.exp(np.mean(beside)))
    return float(np.mean(ratios))


def measure(overall: Tensor, grids: Sequence[int]) -> dict[str, Any]:
    """Lattice, pieces and largest piece of overall maps ``(n, h, w)``."""
    masks = critical_mask(overall).numpy()
    found = np.array([pieces(mask) for mask in masks])
    return {
        "excess": {str(cells): excess(overall, cells) for cells in grids},
        "pieces": float(np.median(found[:, 0])),
        "largest": float(np.median(found[:, 1])) / int(masks[0].sum()),
    }


def lattices(bench: Bench) -> dict[str, Any]:
    """The figures of one recognizer for all remedies."""
    explainer = Explainer(bench.recognizer, backend="plain")
    height, width = bench.recognizer.card.input_size

    def layers(chips: NDArray[np.uint8]) -> list[Tensor]:
        return layer_maps(explainer, chips, lambda _: self_target)[WEIGHTING]

    def join(maps: list[Tensor]) -> Tensor:
        return distribution(AGGREGATES[AGGREGATE](maps, (height, width)))

    plain = layers(bench.chips)
    # The last grid is not read with a stride.
    grids = sorted({one.shape[1] for one in plain}, reverse=True)[:-1]
    overall = {name: join(remedy(plain)) for name, remedy in REMEDIES.items()}
    with smoothed_gradients(bench.recognizer.module):
        overall["smoothed gradients"] = join(layers(bench.chips))
    step = round(height / grids[0])
    overall["four shifts of the input"] = torch.stack(
        [
            join(layers(np.roll(bench.chips, shift, axis=(1, 2)))).roll(
                (-shift[0], -shift[1]), dims=(1, 2)
            )
            for shift in product((0, step), repeat=2)
        ]
    ).mean(dim=0)
    overall["edges"] = torch.from_numpy(np.stack([edge_map(chip) for chip in bench.chips]))
    return {name: measure(maps, grids) for name, maps in overall.items()}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per recognizer and one column per remedy."""
    names = list(next(iter(found.values())))
    lines = [f"| recognizer | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for recognizer, remedies in found.items():
        cells = []
        for one in remedies.values():
            fine = [value for cells, value in one["excess"].items() if int(cells) >= FEWEST_CELLS]
            cells.append(f"{max(fine):.1f}; {one['pieces']:.0f}; {one['largest']:.2f}")
        lines.append(f"| {recognizer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces, people = find_faces(options.faces, PEOPLE, 2, 0, first=200)
    found = {}
    for name in options.models.split(","):
        bench = make_bench(load_recognizer(name), faces, people)
        found[bench.recognizer.name] = lattices(bench)
        write_whole(options.out, found)
    show(table(found), options.page, "lattice")


if __name__ == "__main__":
    main()
