#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Writes data/tflite_reference.json: random single-operator int8 models and what TensorFlow Lite's
reference kernels answer.

The file is committed, so the test needs none of this. To make it again:

    pip install tflite-runtime==2.14.0 'numpy<2' flatbuffers
    python3 tests/sw_ref/vision/make_tflite_reference.py [--seed 1] [--cases 25] [--output FILE]

int8 tensors are written as hexadecimal bytes, int32 tensors as lists, scales as the exact value of
the single-precision number. Every model has one operator, built here field by field after the
published schema of the file format.
"""
import argparse
import json
import pathlib

import flatbuffers
import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

INT8, INT32 = 9, 2
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
# operator: builtin code, type of its options in the union
OPERATORS = {
    "add": (0, 11),
    "average_pool": (1, 5),
    "conv": (3, 1),
    "depthwise": (4, 2),
    "fully_connected": (9, 8),
    "max_pool": (17, 5),
    "relu": (19, 0),
    "relu_n1_to_1": (20, 0),
    "relu6": (21, 0),
    "softmax": (25, 9),
    "pad": (34, 22),
    "mean": (40, 27),
    "arg_max": (56, 40),
    "padv2": (60, 43),
    "quantize": (114, 89),
}


class Model:
    """One operator; tensors are added in order, those with data are constants."""

    def __init__(self, operator, options):
        self.operator, self.options, self.tensors = operator, options, []

    def tensor(self, shape, dtype=INT8, scale=None, zero=None, axis=0, data=None):
        self.tensors.append((shape, dtype, scale, zero, axis, data))
        return len(self.tensors) - 1

    def build(self, inputs, output, graph_inputs):
        b = flatbuffers.Builder(1 << 16)

        def table(slots, fields):
            b.StartObject(slots)
            for slot, kind, value in fields:
                if kind == "offset":
                    b.PrependUOffsetTRelativeSlot(slot, value, 0)
                elif kind == "u32":
                    b.PrependUint32Slot(slot, value, 0)
                elif kind == "i32":
                    b.PrependInt32Slot(slot, value, -1 << 31)  # always written
                elif kind == "i8":
                    b.PrependInt8Slot(slot, value, -128)
                elif kind == "u8":
                    b.PrependUint8Slot(slot, value, 255)
                elif kind == "f32":
                    b.PrependFloat32Slot(slot, value, float("inf"))
                elif kind == "bool":
                    b.PrependBoolSlot(slot, value, None)
            return b.EndObject()

        def offsets(items):
            b.StartVector(4, len(items), 4)
            for item in reversed(items):
                b.PrependUOffsetTRelative(item)
            return b.EndVector()

        def vector(values, dtype):
            return b.CreateNumpyVector(np.asarray(values, dtype))

        buffers = [table(1, [])]
        tensors = []
        for shape, dtype, scale, zero, axis, data in self.tensors:
            buffer = 0
            if data is not None:
                raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
                b.StartVector(1, len(raw), 16)
                b.head -= len(raw)
                b.Bytes[b.head : b.head + len(raw)] = raw.tobytes()
                buffers.append(table(1, [(0, "offset", b.EndVector())]))
                buffer = len(buffers) - 1
            fields = [
                (0, "offset", vector(shape, np.int32)),
                (1, "i8", dtype),
                (2, "u32", buffer),
                (3, "offset", b.CreateString("t%d" % len(tensors))),
            ]
            if scale is not None:
                scales = vector(np.atleast_1d(scale), np.float32)
                zeros = vector(np.broadcast_to(zero, np.shape(np.atleast_1d(scale))), np.int64)
                quant = table(7, [(2, "offset", scales), (3, "offset", zeros), (6, "i32", axis)])
                fields.append((4, "offset", quant))
            tensors.append(table(9, fields))
        code, option_type = OPERATORS[self.operator]
        fields = [
            (0, "u32", 0),
            (1, "offset", vector(inputs, np.int32)),
            (2, "offset", vector([output], np.int32)),
        ]
        if option_type:
            options = table(8, self.options)
            fields += [(3, "u8", option_type), (4, "offset", options)]
        operator = table(9, fields)
        code = table(4, [(0, "i8", code), (2, "i32", 4 if self.operator == "fully_connected" else 1), (3, "i32", code)])
        graph = table(
            5,
            [
                (0, "offset", offsets(tensors)),
                (1, "offset", vector(graph_inputs, np.int32)),
                (2, "offset", vector([output], np.int32)),
                (3, "offset", offsets([operator])),
            ],
        )
        model = table(
            5,
            [
                (0, "u32", 3),
                (1, "offset", offsets([code])),
                (2, "offset", offsets([graph])),
                (4, "offset", offsets(buffers)),
            ],
        )
        b.Finish(model, b"TFL3")
        return bytes(b.Output())


def run(content, inputs):
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def hexed(array):
    return np.ascontiguousarray(array, np.int8).tobytes().hex()


class Maker:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def between(self, low, high):
        return int(self.random.integers(low, high + 1))

    def chance(self, p):
        return bool(self.random.random() < p)

    def scale(self, low=1e-3, high=1.0):
        return np.float32(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def zero(self):
        return self.between(-128, 127)

    def int8(self, shape):
        return self.random.integers(-128, 128, shape).astype(np.int8)

    def activation(self):
        return list(ACTIVATIONS)[self.between(0, 3)]

    def window(self, height, width, dilations):
        while True:
            w = {
                "padding": "same" if self.chance(0.5) else "valid",
                "kernel": [self.between(1, 4), self.between(1, 4)],
                "stride": [self.between(1, 3), self.between(1, 3)],
                "dilation": [1, 1],
            }
            if dilations and self.chance(0.3):
                w["dilation"] = [self.between(1, 3), self.between(1, 3)]
                w["stride"] = [1, 1]
            out = []
            for extent, k, s, d in zip((height, width), w["kernel"], w["stride"], w["dilation"]):
                effective = (k - 1) * d + 1
                out.append(
                    -(-extent // s) if w["padding"] == "same" else (extent - effective) // s + 1
                )
            if min(out) >= 1:
                return w, out

    def weights(self, case, shape, channels, axis, depth, per_channel=True):
        """int8 weights and int32 bias; scales such that outputs spread over the int8 range."""
        count = channels if per_channel else 1
        typical = case["output_scale"] / case["input_scale"] / (74 * np.sqrt(depth) * 74) * 100
        scales = np.float32(typical * np.exp(self.random.uniform(-1, 1, count)))
        for c in range(count):
            if self.chance(0.08):  # shifts down to -31, and dead channels
                scales[c] = np.float32(typical * 2.0 ** -self.between(4, 34))
        case["weight_scales"] = [float(s) for s in scales]
        weights = self.random.integers(-127, 128, shape).astype(np.int8)
        bias = None
        if case["operator"] == "conv" or self.chance(0.85):  # int8 CONV_2D demands a bias
            bias = self.random.integers(-5000, 5000, channels).astype(np.int32)
            for c in range(channels):
                if self.chance(0.08):
                    bias[c] = self.between(-(1 << 30), 1 << 30)
        return scales, weights, bias

    def conv(self):
        depthwise = self.chance(0.5)
        n, h, w = self.between(1, 2), self.between(1, 7), self.between(1, 7)
        case = {"operator": "depthwise" if depthwise else "conv"}
        groups = 1 if depthwise or self.chance(0.6) else self.between(2, 3)
        cin = self.between(1, 6) * groups
        multiplier = self.between(1, 3)
        cout = cin * multiplier if depthwise else groups * self.between(1, 4)
        window, out = self.window(h, w, True)
        kernel = window["kernel"]
        case.update(window)
        case.update(
            activation=self.activation(),
            input_scale=float(self.scale(0.01, 0.1)),
            input_zero=self.zero(),
            output_scale=float(self.scale(0.01, 0.1)),
            output_zero=self.zero(),
        )
        depth = kernel[0] * kernel[1] * (1 if depthwise else cin // groups)
        shape = [1, *kernel, cout] if depthwise else [cout, *kernel, cin // groups]
        scales, weights, bias = self.weights(case, shape, cout, 3 if depthwise else 0, depth)
        x = self.int8([n, h, w, cin])
        head = [
            (0, "i8", 0 if window["padding"] == "same" else 1),
            (1, "i32", window["stride"][1]),
            (2, "i32", window["stride"][0]),
        ]
        act = ACTIVATIONS[case["activation"]]
        dil = window["dilation"]
        if depthwise:
            options = head + [
                (3, "i32", multiplier),
                (4, "i8", act),
                (5, "i32", dil[1]),
                (6, "i32", dil[0]),
            ]
        else:
            options = head + [(3, "i8", act), (4, "i32", dil[1]), (5, "i32", dil[0])]
        m = Model(case["operator"], options)
        return self.finish_weighted(
            case, m, x, [n, *out, cout], shape, scales, weights, bias, 3 if depthwise else 0
        )

    def finish_weighted(self, case, m, x, out_shape, shape, scales, weights, bias, axis):
        ti = m.tensor(list(x.shape), scale=case["input_scale"], zero=case["input_zero"])
        tw = m.tensor(shape, scale=scales, zero=0, axis=axis, data=weights)
        inputs = [ti, tw]
        if bias is not None:
            product = np.float32(case["input_scale"]) * scales
            tb = m.tensor([len(bias)], INT32, scale=product, zero=0, data=bias)
            inputs.append(tb)
        elif case["operator"] == "fully_connected":
            inputs.append(-1)
        to = m.tensor(out_shape, scale=case["output_scale"], zero=case["output_zero"])
        y = run(m.build(inputs, to, [ti]), [x])
        case.update(
            input_shape=list(x.shape),
            output_shape=list(y.shape),
            filter_shape=shape,
            input=hexed(x),
            weights=hexed(weights),
            bias=[] if bias is None else [int(v) for v in bias],
            output=hexed(y),
        )
        return case

    def fully_connected(self):
        batches, cin, cout = self.between(1, 3), self.between(1, 60), self.between(1, 12)
        case = {
            "operator": "fully_connected",
            "activation": self.activation(),
            "input_scale": float(self.scale(0.01, 0.1)),
            "input_zero": self.zero(),
            "output_scale": float(self.scale(0.01, 0.1)),
            "output_zero": self.zero(),
        }
        per_channel = cout > 1 and self.chance(0.4)
        scales, weights, bias = self.weights(case, [cout, cin], cout, 0, cin, per_channel)
        m = Model(
            "fully_connected",
            [(0, "i8", ACTIVATIONS[case["activation"]]), (1, "i8", 0), (2, "bool", False)],
        )
        x = self.int8([batches, cin])
        return self.finish_weighted(
            case, m, x, [batches, cout], [cout, cin], scales, weights, bias, 0
        )

    def add(self):
        shape = [1, self.between(1, 4), self.between(1, 4), self.between(1, 6)]
        case = {"operator": "add", "activation": self.activation()}
        s1, s2 = self.scale(0.01, 0.3), self.scale(0.01, 0.3)
        so = np.float32(max(s1, s2) * self.random.uniform(0.5, 2.0))
        m = Model("add", [(0, "i8", ACTIVATIONS[case["activation"]])])
        case.update(
            scales=[float(s1), float(s2), float(so)], zeros=[self.zero() for _ in range(3)]
        )
        a, b = self.int8(shape), self.int8(shape)
        ta = m.tensor(shape, scale=s1, zero=case["zeros"][0])
        tb = m.tensor(shape, scale=s2, zero=case["zeros"][1])
        to = m.tensor(shape, scale=so, zero=case["zeros"][2])
        y = run(m.build([ta, tb], to, [ta, tb]), [a, b])
        case.update(input=hexed(a), input2=hexed(b), output=hexed(y))
        return case

    def pool(self):
        operator = "average_pool" if self.chance(0.6) else "max_pool"
        n, h, w, c = self.between(1, 2), self.between(1, 9), self.between(1, 9), self.between(1, 6)
        window, out = self.window(h, w, False)
        case = {"operator": operator, "activation": self.activation(), **window}
        case.update(output_scale=float(self.scale(0.02, 0.2)), output_zero=self.zero())
        m = Model(
            operator,
            [
                (0, "i8", 0 if window["padding"] == "same" else 1),
                (1, "i32", window["stride"][1]),
                (2, "i32", window["stride"][0]),
                (3, "i32", window["kernel"][1]),
                (4, "i32", window["kernel"][0]),
                (5, "i8", ACTIVATIONS[case["activation"]]),
            ],
        )
        x = self.int8([n, h, w, c])
        ti = m.tensor(list(x.shape), scale=case["output_scale"], zero=case["output_zero"])
        to = m.tensor([n, *out, c], scale=case["output_scale"], zero=case["output_zero"])
        y = run(m.build([ti], to, [ti]), [x])
        case.update(
            input_shape=list(x.shape), output_shape=list(y.shape), input=hexed(x), output=hexed(y)
        )
        return case

    def mean(self):
        shape = [self.between(1, 2), self.between(1, 9), self.between(1, 9), self.between(1, 8)]
        keep = self.chance(0.5)
        si = self.scale(0.02, 0.2)
        so = np.float32(si * self.random.uniform(0.3, 1.5)) if self.chance(0.8) else si
        if self.chance(0.1):
            so = np.float32(si * 2.0 ** self.between(5, 25))
        case = {"operator": "mean", "scales": [float(si), float(so)]}
        case["zeros"] = [self.zero(), self.zero()]
        m = Model("mean", [(0, "bool", keep)])
        x = self.int8(shape)
        ti = m.tensor(shape, scale=si, zero=case["zeros"][0])
        ta = m.tensor([2], INT32, data=np.array([1, 2], np.int32))
        out = [shape[0], 1, 1, shape[3]] if keep else [shape[0], shape[3]]
        to = m.tensor(out, scale=so, zero=case["zeros"][1])
        y = run(m.build([ti, ta], to, [ti]), [x])
        case.update(input_shape=shape, input=hexed(x), output=hexed(y))
        return case

    def softmax(self):
        rows = self.between(1, 3)
        depth = self.between(1, 30) if self.chance(0.9) else self.between(200, 500)
        scale = self.scale(0.002, 2.0)
        beta = np.float32(1.0 if self.chance(0.8) else self.random.uniform(0.3, 2.0))
        case = {"operator": "softmax", "beta": float(beta), "scale": float(scale)}
        m = Model("softmax", [(0, "f32", float(beta))])
        x = self.int8([rows, depth])
        if self.chance(0.3):
            x //= 16
        ti = m.tensor([rows, depth], scale=scale, zero=self.zero())
        to = m.tensor([rows, depth], scale=np.float32(1 / 256), zero=-128)
        y = run(m.build([ti], to, [ti]), [x])
        case.update(rows=rows, depth=depth, input=hexed(x), output=hexed(y))
        return case

    def rescale(self):
        operator = ["quantize", "relu", "relu6", "relu_n1_to_1"][self.between(0, 3)]
        si = self.scale(0.01, 0.3)
        so = si if self.chance(0.3) else np.float32(si * self.random.uniform(0.3, 3.0))
        case = {"operator": operator, "scales": [float(si), float(so)]}
        case["zeros"] = [self.zero(), self.zero()]
        if self.chance(0.3):
            case["zeros"][1] = case["zeros"][0]
        x = np.arange(-128, 128).astype(np.int8)
        m = Model(operator, [])
        ti = m.tensor([1, 256], scale=si, zero=case["zeros"][0])
        to = m.tensor([1, 256], scale=so, zero=case["zeros"][1])
        y = run(m.build([ti], to, [ti]), [x.reshape(1, 256)])
        case.update(input=hexed(x), output=hexed(y))
        return case

    def pad(self):
        operator = "pad" if self.chance(0.5) else "padv2"
        shape = [1, self.between(1, 4), self.between(1, 4), self.between(1, 4)]
        before = [0, self.between(0, 3), self.between(0, 3), self.between(0, 2)]
        after = [0, self.between(0, 3), self.between(0, 3), self.between(0, 2)]
        scale, zero = self.scale(), self.zero()
        value = zero if operator == "pad" else self.zero()
        m = Model(operator, [])
        x = self.int8(shape)
        ti = m.tensor(shape, scale=scale, zero=zero)
        tp = m.tensor([4, 2], INT32, data=np.array(list(zip(before, after)), np.int32))
        inputs = [ti, tp]
        if operator == "padv2":
            inputs.append(m.tensor([], scale=scale, zero=zero, data=np.int8(value)))
        out = [s + p + q for s, p, q in zip(shape, before, after)]
        to = m.tensor(out, scale=scale, zero=zero)
        y = run(m.build(inputs, to, [ti]), [x])
        case = {"operator": operator, "value": value, "input_shape": shape}
        case.update(before=before, after=after, input=hexed(x), output=hexed(y))
        return case

    def arg_max(self):
        depth = self.between(1, 20)
        x = self.int8([1, depth]) // self.between(1, 60)
        x = x.astype(np.int8)
        m = Model("arg_max", [(0, "i8", INT32)])
        ti = m.tensor([1, depth], scale=0.1, zero=0)
        ta = m.tensor([1], INT32, data=np.array([1], np.int32))
        to = m.tensor([1], INT32)
        y = run(m.build([ti, ta], to, [ti]), [x])
        return {"operator": "arg_max", "input": hexed(x), "index": int(y[0])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=25, help="cases of each kind")
    default = pathlib.Path(__file__).parent / "data" / "tflite_reference.json"
    parser.add_argument("--output", type=pathlib.Path, default=default)
    args = parser.parse_args()
    maker = Maker(args.seed)
    kinds = ["conv", "conv", "fully_connected", "add", "pool", "pool", "mean", "softmax"]
    kinds += ["rescale", "pad", "arg_max"]
    cases = [getattr(maker, kind)() for kind in kinds for _ in range(args.cases)]
    about = "tflite-runtime 2.14.0, BUILTIN_REF, seed %d" % args.seed
    text = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    args.output.write_text('{"about":"%s","cases":[\n%s\n]}\n' % (about, text))
    print("%d cases in %s" % (len(cases), args.output))


if __name__ == "__main__":
    main()
