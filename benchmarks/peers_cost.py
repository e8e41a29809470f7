"""Compare the cost of all layer maps between LEAM and other packages: time, passes and bytes kept.

    python benchmarks/peers_cost.py --model dlib_resnet --out benchmarks/results.json \
        --page docs/appendices/performance.md

All use the same layers, target (the embedding along its own direction) and batch, interleaved in one process. A package
that cannot be imported is skipped, and the reason is printed and recorded. If torchvision cannot be imported,
pytorch-grad-cam gets an empty stub.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from markdown import write_between
from recording import arguments, as_worker, interleaved, load, noise, ratio, record
from torch import Tensor, nn

from leam.explain.explainer import Explainer
from leam.explain.targets import self_target
from leam.recognizers.recognizer import Recognizer, evaluating

BATCH = 8
Run = Callable[[], object]


class Score(nn.Module):
    """A recognizer in the form that the packages expect: from inputs to one score per face, ``(B, 1)``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, h, w)`` to ``(B, 1)``."""
        return self_target(self.module(x).flatten(1))[:, None]


def torch_cam(score: Score, names: list[str], inputs: Tensor) -> Run:
    """LayerCAM of torch-cam on all layers."""
    from torchcam.methods import LayerCAM  # noqa: PLC0415

    def run() -> object:
        layers: list[nn.Module | str] = [f"module.{name}" for name in names]
        with LayerCAM(score, layers) as cam:
            scores = score(inputs.clone().requires_grad_())
            return cam([0] * len(inputs), scores)

    return run


def grad_cam(score: Score, names: list[str], inputs: Tensor) -> Run:
    """LayerCAM of pytorch-grad-cam on all layers."""
    stand_in_for_torchvision()
    from pytorch_grad_cam import LayerCAM  # noqa: PLC0415
    from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget  # noqa: PLC0415

    layers = [score.get_submodule(f"module.{name}") for name in names]

    def run() -> object:
        with LayerCAM(score, layers) as cam:
            return cam(inputs, [RawScoresOutputTarget()] * len(inputs))

    return run


def stand_in_for_torchvision() -> None:
    """Replace torchvision with a stub if it cannot be imported, since pytorch-grad-cam's CAMs do not use it."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        names = {"ops": (), "transforms": ("Compose", "Normalize", "ToTensor")}
        names |= {"transforms.functional": ("resize",), "": ()}
        for name, held in names.items():
            module = ModuleType(f"torchvision.{name}".rstrip("."))
            module.__dict__.update(dict.fromkeys(held))
            sys.modules[module.__name__] = module


def captum(method: str) -> Callable[[Score, list[str], Tensor], Run]:
    """A layer attribution of Captum, which handles one layer per call."""

    def prepare(score: Score, names: list[str], inputs: Tensor) -> Run:
        from captum import attr  # noqa: PLC0415

        layers = [score.get_submodule(f"module.{name}") for name in names]

        def run() -> object:
            return [
                getattr(attr, method)(score, layer).attribute(inputs.clone(), target=0)
                for layer in layers
            ]

        return run

    return prepare


METHODS = {
    "torch_cam": torch_cam,
    "pytorch_grad_cam": grad_cam,
    "captum_layer_grad_cam": captum("LayerGradCam"),
    "captum_layer_gradient_x_activation": captum("LayerGradientXActivation"),
}


def kept_bytes(run: Run) -> int:
    """Bytes kept for the backward pass, including parameters. Each storage is counted once."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # addresses are unique only while the storages exist

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())


def passes_of(score: Score, run: Run) -> int:
    """Number of times that a run evaluates the network."""
    count: list[int] = []
    with score.module.register_forward_hook(lambda *_: count.append(1)):
        run()
    return len(count)


def measure(recognizer: Recognizer, rounds: int) -> dict[str, dict[str, Any]]:
    """Ratios and bytes of each package on one recognizer, or the reason why it was skipped."""
    explainer = Explainer(recognizer)
    chips = noise(recognizer, BATCH)
    inputs = recognizer.preprocess(chips)
    names = [layer.module for layer in explainer.layers]
    score = Score(recognizer.module)
    runs: dict[str, Run] = {"leam": lambda: explainer.explain(chips)}
    found: dict[str, dict[str, Any]] = {}
    with evaluating(recognizer.module):
        score.eval()
        for name, prepare in METHODS.items():
            try:
                run = prepare(score, names, inputs)
                run()
            except Exception as error:  # noqa: BLE001  a package that fails is reported, not fatal
                reason = str(error).partition("\n")[0]
                found[name] = {"skipped": f"{type(error).__name__}: {reason}"}
                print(f"{name}: skipped, {found[name]['skipped']}")
            else:
                runs[name] = run
        times = interleaved({"forward": lambda: recognizer.embed(chips), **runs}, rounds)
        for name, run in runs.items():
            found[name] = {
                "over_forward": ratio(times, name, "forward"),
                "ratio": ratio(times, name, "leam"),
                "passes": passes_of(score, run),
                "kept_bytes_per_face": kept_bytes(run) // BATCH,
            }
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per package."""
    lines = [
        "| package | over a forward pass | over LEAM | forward passes | MB kept a face |",
        "|---|---|---|---|---|",
    ]
    for name, r in found.items():
        if "skipped" in r:
            lines.append(f"| {name} | skipped: {r['skipped']} | | | |")
        else:
            kept = r["kept_bytes_per_face"] / 1e6
            lines.append(
                f"| {name} | {r['over_forward']:.2f} | {r['ratio']:.2f} | {r['passes']} | {kept:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--model", default="dlib_resnet")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    as_worker()
    torch.set_num_threads(1)  # as in a study
    (recognizer,) = load(options.model)
    found = measure(recognizer, options.rounds)
    print(table(found))
    record(options.out, "peers", found)
    if options.page:
        write_between(options.page, "peers", table(found))


if __name__ == "__main__":
    main()
