"""Class activation maps of the last convolution, by explainers of that layer alone."""

from __future__ import annotations

from leam.explain.explainer import Explainer
from leam.explain.methods import METHODS, Method, explained
from leam.recognizers.recognizer import Recognizer


@METHODS("grad_cam")
def grad_cam(recognizer: Recognizer) -> Method:
    """Channels of the last convolution weighted by their mean gradient (Selvaraju et al. 2017)."""
    return _last_layer(recognizer, "channel_mean")


@METHODS("hires_cam")
def hires_cam(recognizer: Recognizer) -> Method:
    """Elementwise gradient times activation of the last convolution (Draelos and Carin 2020)."""
    return _last_layer(recognizer, "signed")


@METHODS("layer_cam")
def layer_cam(recognizer: Recognizer) -> Method:
    """Activations of the last convolution times their positive gradients (Jiang et al. 2021)."""
    return _last_layer(recognizer, "positive")


def _last_layer(recognizer: Recognizer, weighting: str) -> Method:
    last = Explainer(recognizer).layers[-1].name
    return explained(Explainer(recognizer, layers=[last], weighting=weighting, aggregate="last"))
