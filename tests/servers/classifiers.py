"""ONNX classifiers made without training, for the golden bundle of the tests.

A bundle has fewer images than an image has values, so a linear model can answer each of them as a
rule says, exactly; a little noise on the weights makes a derived model that is no copy.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from audit.bundle.manifest import BundleContents


def write_classifier(
    path: Path, bundle: BundleContents, rule: Callable[[str, int, int], int], *, noise: float = 0.0
) -> Path:
    """Write a model ``input`` float32 ``[N, 3, H, W]`` in [0, 1] -> ``probs`` ``[N, K]``.

    Args:
        path: The ONNX file.
        bundle: Whose images it answers.
        rule: Label from kind, index and the source's label.
        noise: Standard deviation of the noise on the weights, relative to theirs.
    """
    arrays, task = bundle.arrays, bundle.manifest.task
    images = np.concatenate([arrays.controls, arrays.queries])
    labels = np.array(
        [
            rule(kind, index, int(label))
            for kind, known in (
                ("control", arrays.control_labels),
                ("query", arrays.source_query_labels),
            )
            for index, label in enumerate(known)
        ]
    )
    values = images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255  # [N, H, W, C] -> [N, D]
    weights = np.linalg.lstsq(values, 8.0 * np.eye(task.num_classes)[labels], rcond=None)[0]
    rng = np.random.default_rng(0)
    weights = weights * (1 + noise * rng.standard_normal(weights.shape))
    assert ((values @ weights).argmax(1) == labels).all()
    shape = ["N", task.channels, task.height, task.width]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probs"], axis=1),
        ],
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["N", task.num_classes])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
