# Copyright The Kestrel Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the DC network of train_dc.py as ONNX, batch normalisation folded into the convolutions.

Input "image" float32 [N, 1, 28, 28] in 0..1, output "probabilities" float32 [N, 10]. Opset 11 and
only Conv, Relu, Add, GlobalAveragePool, Flatten, Gemm, Softmax: what OpenCV 4.6 reads.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def export(model, path):
    """model: the keras model built by train_dc.build(), its weights in float32."""
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def add_node(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(x, name, stride=1, relu=True):
        kernel = model.get_layer(name).kernel.numpy()  # height, width, in, out
        norm = model.get_layer(name + "_bn")
        gain = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
        bias = norm.beta.numpy() - norm.moving_mean.numpy() * gain
        weight = (kernel * gain).transpose(3, 2, 0, 1)
        inputs = [x, constant(name + "_weight", weight), constant(name + "_bias", bias)]
        x = add_node(
            "Conv", inputs, name, kernel_shape=[3, 3], strides=[stride] * 2, pads=[1, 1, 1, 1]
        )
        return add_node("Relu", [x], name + "_relu") if relu else x

    def block(x, name):
        y = conv(x, name + "a")
        y = conv(y, name + "b", relu=False)
        return add_node("Relu", [add_node("Add", [x, y], name + "_add")], name + "_relu")

    x = conv("image", "stem")
    x = conv(x, "down1", stride=2)
    x = block(x, "block1")
    x = block(x, "block2")
    x = conv(x, "down2", stride=2)
    x = block(x, "block3")
    x = block(x, "block4")
    x = add_node("GlobalAveragePool", [x], "pool")
    x = add_node("Flatten", [x], "flat", axis=1)
    dense = model.get_layer("classifier")
    inputs = [
        x,
        constant("classifier_weight", dense.kernel.numpy().T),
        constant("classifier_bias", dense.bias.numpy()),
    ]
    x = add_node("Gemm", inputs, "logits", transB=1)
    add_node("Softmax", [x], "probabilities", axis=1)

    graph = helper.make_graph(
        nodes,
        "fmnist_dc",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    out = helper.make_model(
        graph, producer_name="kestrel", opset_imports=[helper.make_opsetid("", 11)], ir_version=6
    )
    onnx.checker.check_model(out, full_check=True)
    onnx.save(out, path)
