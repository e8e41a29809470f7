"""Load small ONNX recognizers, and compare them with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from quirks import SIDE, Network


@pytest.fixture
def load(tmp_path):
    """Load a model."""

    def load(model, *, trust=True, **fields):
        model = model.model if isinstance(model, Network) else model
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        fields = {"name": "mine", "input_size": (SIDE, SIDE)} | fields
        return load_recognizer(Card(architecture="onnx", file=str(path), **fields), trust=trust)

    return load


@pytest.fixture
def agrees(load):
    """Check that two faces in a batch have the embeddings that onnxruntime gives each alone; return the recognizer."""

    def agrees(model, feeds=None, **fields):
        recognizer = load(model, **fields)
        model = model.model if isinstance(model, Network) else model
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        shape = (2, *recognizer.card.input_shape)
        faces = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        theirs = [session.run(["z"], {"x": face[None], **(feeds or {})})[0] for face in faces]
        with torch.no_grad():
            ours = recognizer.forward(torch.from_numpy(faces)).numpy()
        expected = np.concatenate(theirs).reshape(ours.shape)
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        return recognizer

    return agrees
