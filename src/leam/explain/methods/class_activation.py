"""Class activation maps of the last convolution, by explainers of that layer alone."""

from __future__ import annotations

from leam.explain.explainer import Explainer
from leam.explain.methods import Attribution, attribution
from leam.recognizers.recognizer import Recognizer


@attribution("grad-cam")
def grad_cam(recognizer: Recognizer) -> Attribution:
    """Channels of the last convolution weighted by their mean gradient (Selvaraju et al. 2017)."""
    return _last_layer(recognizer, "channel_mean")


@attribution("hires-cam")
def hires_cam(recognizer: Recognizer) -> Attribution:
    """Elementwise gradient times activation of the last convolution (Draelos and Carin 2020)."""
    return _last_layer(recognizer, "signed")


@attribution("layer-cam")
def layer_cam(recognizer: Recognizer) -> Attribution:
    """Activations of the last convolution times their positive gradients (Jiang et al. 2021)."""
    return _last_layer(recognizer, "positive")


def _last_layer(recognizer: Recognizer, weighting: str) -> Attribution:
    last = Explainer(recognizer).layers[-1].name
    explainer = Explainer(recognizer, layers=[last], weighting=weighting, aggregate="last")
    return lambda chips, target: explainer.explain(chips, target).overall
