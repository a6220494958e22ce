"""Convolutions with fewer products, compared with PyTorch's in float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from latentlab.encoding.onnx_convolutions import quicken_convolutions


@dataclass(frozen=True)
class Layer:
    """A convolution of an image (1, C, H, W), doubled before or not."""

    sides: tuple[int, int] = (8, 8)
    inputs: int = 16
    outputs: int = 20
    taps: int = 3
    doubles: bool = False
    biased: bool = True
    how: dict[str, Any] = field(default_factory=lambda: {"pads": [1] * 4})

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(0)
        each = self.inputs // self.how.get("group", 1)
        shapes = {
            "latent": (1, self.inputs, *self.sides),
            "kernel": (self.outputs, each, self.taps, self.taps),
            "bias": (self.outputs,),
        }
        return {name: draw.normal(size=shape).astype("f4") for name, shape in shapes.items()}

    @property
    def content(self) -> bytes:
        """Return it as an ONNX file."""
        make, arrays = onnx.helper, self.arrays
        read = ["kernel", "bias"] if self.biased else ["kernel"]
        nodes = [make.make_node("Conv", ["wide", *read], ["image"], **self.how)]
        scales = np.array([1, 1, 2, 2] if self.doubles else [1, 1, 1, 1], "f4")
        kept = [onnx.numpy_helper.from_array(arrays[name], name) for name in read]
        kept.append(onnx.numpy_helper.from_array(scales, "scales"))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        how["nearest_mode"] = "floor"
        nodes.insert(0, make.make_node("Resize", ["latent", "", "scales"], ["wide"], **how))
        sides = (onnx.TensorProto.FLOAT, arrays["latent"].shape)
        ends = ([make.make_tensor_value_info("latent", *sides)],)
        image = [make.make_tensor_value_info("image", sides[0], ["n", "c", "h", "w"])]
        graph = make.make_graph(nodes, "layer", *ends, image, kept)
        version = [make.make_opsetid("", 20)]
        return bytes(make.make_model(graph, opset_imports=version).SerializeToString())

    @property
    def expected(self) -> np.ndarray:
        x, kernel, bias = (torch.from_numpy(one).double() for one in self.arrays.values())
        if self.doubles:
            x = interpolate(x, scale_factor=2.0, mode="nearest")
        how = {
            "padding": self.how.get("pads", [0])[0],
            "stride": self.how.get("strides", [1])[0],
            "dilation": self.how.get("dilations", [1])[0],
            "groups": self.how.get("group", 1),
        }
        return conv2d(x, kernel, bias if self.biased else None, **how).numpy()


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def computed(layer: Layer, content: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (image,) = session.run(["image"], {"latent": layer.arrays["latent"]})
    return np.asarray(image)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize("sides", [(8, 5), (5, 8), (1, 1), (22, 3)])
@pytest.mark.parametrize("channels", [(16, 20), (64, 72)])
def test_a_layer_computes_the_same(
    channels: tuple[int, int], sides: tuple[int, int], doubles: bool, biased: bool
) -> None:
    layer = Layer(sides, *channels, doubles=doubles, biased=biased)
    after = quicken_convolutions(layer.content)
    assert "MatMul" in kinds(after)
    assert ("Resize" in kinds(after)) is not doubles
    assert len(after) < len(layer.content) + 6000  # the weights are there once
    size = np.abs(layer.expected).max()
    np.testing.assert_allclose(computed(layer, after), layer.expected, atol=5e-6 * size)


@pytest.mark.parametrize(
    "layer",
    [
        Layer(how={"pads": [1] * 4, "strides": [2, 2]}),
        Layer(how={"pads": [1] * 4, "group": 4}),
        Layer(how={"pads": [2] * 4, "dilations": [2, 2]}),
        Layer(how={}),
        Layer(how={"pads": [1] * 4}, taps=5),
        Layer(outputs=3),
    ],
)
@pytest.mark.parametrize("doubles", [False, True])
def test_other_layers_stay(layer: Layer, doubles: bool) -> None:
    layer = Layer(**{**vars(layer), "doubles": doubles})
    after = quicken_convolutions(layer.content)
    if doubles and layer.outputs == 3:
        assert "DepthToSpace" in kinds(after)
    else:
        assert kinds(after) == kinds(layer.content)
    np.testing.assert_allclose(computed(layer, after), layer.expected, atol=1e-4)


def test_a_doubled_image_that_others_read_stays() -> None:
    layer = Layer(doubles=True)
    proto = onnx.load_from_string(layer.content)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("wide", 1, [1, 16, 16, 16]))
    after = quicken_convolutions(proto.SerializeToString())
    assert "Resize" in kinds(after)
    np.testing.assert_allclose(computed(layer, after), layer.expected, atol=1e-4)
