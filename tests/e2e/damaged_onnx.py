#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Small ONNX files that contradict themselves, for hostile.py."""

import struct


def varint(n):
    n &= (1 << 64) - 1
    o = b''
    while True:
        b = n & 127
        n >>= 7
        o += bytes([b | (128 if n else 0)])
        if not n:
            return o


def field(n, v):
    if isinstance(v, int):
        return varint(n << 3) + varint(v)
    if isinstance(v, str):
        v = v.encode()
    return varint(n << 3 | 2) + varint(len(v)) + v


def tensor(name, dims, data, type=1):
    return b''.join((field(1, d) for d in dims)) + field(2, type) + field(8, name) + field(9, data)


def floats(name, dims, n=None):
    k = 1
    for d in dims:
        k *= d
    k = k if n is None else n
    return tensor(name, dims, struct.pack('<%df' % k, *[(i * 37 % 100 - 50) / 500 for i in range(k)]))


def ints(name, vals, n=None):
    return tensor(name, [len(vals)] if n is None else [n], struct.pack('<%dq' % len(vals), *vals), 7)


def attr(name, v):
    if isinstance(v, int):
        return field(1, name) + field(3, v) + field(20, 2)
    return field(1, name) + b''.join((field(8, i) for i in v)) + field(20, 7)


def node(op, ins, outs, **a):
    return b''.join((field(1, i) for i in ins)) + b''.join((field(2, o) for o in outs)) + field(3, outs[0]) + field(4, op) + b''.join((field(5, attr(k, v)) for k, v in a.items()))


def value(name, shape):
    s = b''.join((field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in shape))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, s)))


def model(nodes, inits, opset=13):
    g = b''.join((field(1, n) for n in nodes)) + field(2, 'g') + b''.join((field(5, t) for t in inits)) + field(11, value('x', ['N', 1, 28, 28])) + field(12, value('y', ['N', 10]))
    return field(1, 8) + field(7, g) + field(8, field(1, '') + field(2, opset))


def net(**o):
    """Conv, BatchNorm, Relu, MaxPool, Reshape, Gemm; each part replaceable."""
    g = lambda k, d: o.get(k, d)
    nodes = [g('conv', node('Conv', ['x', 'w', 'b'], ['c'], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])), g('bn', node('BatchNormalization', ['c', 's', 'bb', 'm', 'v'], ['n'])), g('relu', node('Relu', ['n'], ['r'])), g('pool', node('MaxPool', ['r'], ['p'], kernel_shape=[2, 2], strides=[2, 2])), g('reshape', node('Reshape', ['p', 'sh'], ['f'])), g('gemm', node('Gemm', ['f', 'gw', 'gb'], ['y'], transB=1))]
    inits = [g('w', floats('w', [4, 1, 3, 3])), g('b', floats('b', [4])), g('s', floats('s', [4])), g('bb', floats('bb', [4])), g('m', floats('m', [4])), g('v', tensor('v', [4], struct.pack('<4f', 1, 1, 1, 1))), g('sh', ints('sh', [-1, 784])), g('gw', floats('gw', [10, 784])), g('gb', floats('gb', [10]))]
    return model([n for n in nodes if n], inits)


BAD = {
    "good": net(),
    "conv_no_input": net(conv=node("Conv", [], ["c"], kernel_shape=[3, 3])),
    "conv_one_input": net(conv=node("Conv", ["x"], ["c"], kernel_shape=[3, 3])),
    "bn_two": net(bn=node("BatchNormalization", ["c", "s"], ["n"])),
    "bn_none": net(bn=node("BatchNormalization", [], ["n"])),
    "relu_none": net(relu=node("Relu", [], ["r"])),
    "pool_none": net(pool=node("MaxPool", [], ["p"], kernel_shape=[2, 2])),
    "pool_nokernel": net(pool=node("MaxPool", ["r"], ["p"])),
    "reshape_none": net(reshape=node("Reshape", [], ["f"])),
    "gemm_one": net(gemm=node("Gemm", ["f"], ["y"], transB=1)),
    "gemm_none": net(gemm=node("Gemm", [], ["y"])),
    "w_short": net(w=floats("w", [4, 1, 3, 3], 4)),
    "w_empty": net(w=floats("w", [4, 1, 3, 3], 0)),
    "w_rank1": net(w=floats("w", [36])),
    "w_rank2": net(w=floats("w", [4, 9])),
    "w_rank0": net(w=floats("w", [], 1)),
    "w_kernel": net(w=floats("w", [4, 1, 2, 2])),
    "b_short": net(b=floats("b", [2])),
    "b_lie": net(b=floats("b", [4], 1)),
    "b_empty": net(b=floats("b", [0])),
    "s_short": net(s=floats("s", [1])),
    "v_short": net(v=floats("v", [2])),
    "v_empty": net(v=floats("v", [0])),
    "gw_short": net(gw=floats("gw", [10, 784], 100)),
    "gw_empty": net(gw=floats("gw", [10, 784], 0)),
    "gw_rank1": net(gw=floats("gw", [7840])),
    "gb_short": net(gb=floats("gb", [3])),
    "gb_lie": net(gb=floats("gb", [10], 2)),
    "gw_negative": net(gw=tensor("gw", [-10, -784], b"\x00" * 31360)),
    "w_huge": net(w=tensor("w", [1 << 40, 1, 3, 3], b"\x00" * 144)),
    "w_overflow": net(w=tensor("w", [1 << 62, 4, 3, 3], b"\x00" * 144)),
    "sh_lie": net(sh=ints("sh", [-1], 2)),
    "sh_many": net(sh=ints("sh", [1] * 40)),
    "strides0": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[0, 0])),
    "pstrides0": net(pool=node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[0, 0])),
    "kernel0": net(pool=node("MaxPool", ["r"], ["p"], kernel_shape=[0, 0], strides=[2, 2])),
    "group0": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=0)),
    "group3": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=3)),
    "pads3": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1])),
    "kernel1": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3])),
    "kernel_long": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3] * 50)),
    "dilhuge": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], dilations=[1 << 30, 1 << 30])),
    "padhuge": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1 << 30] * 4)),
    "padneg": net(conv=node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[-9] * 4)),
    "unknown": net(relu=node("Relu", ["zzz"], ["r"])),
    "cycle": net(relu=node("Relu", ["r"], ["r"])),
    "cycle2": net(relu=node("Relu", ["y"], ["r"])),
    "concat": net(relu=node("Concat", [], ["r"], axis=1)),
    "concataxis": net(relu=node("Concat", ["n", "n"], ["r"], axis=100)),
    "transpose": net(relu=node("Transpose", ["n"], ["r"], perm=[0, 9, 9, 9])),
    "flat": net(reshape=node("Flatten", ["p"], ["f"], axis=1000)),
    "slice": net(relu=node("Slice", ["n"], ["r"])),
    "slice2": net(relu=node("Slice", ["n", "sh", "sh", "gb"], ["r"])),
    "split": net(relu=node("Split", ["n"], ["r", "r2"], axis=77, split=[1, 1])),
    "gather": net(relu=node("Gather", ["n", "b"], ["r"], axis=9)),
    "pad": net(relu=node("Pad", ["n", "b"], ["r"])),
    "reduce": net(relu=node("ReduceMean", ["n"], ["r"], axes=[77])),
    "unsq": net(relu=node("Unsqueeze", ["n"], ["r"], axes=[77])),
    "clip": net(relu=node("Clip", ["n", "zz", "zz"], ["r"])),
    "expand": net(relu=node("Expand", ["n"], ["r"])),
    "expand2": net(relu=node("Expand", ["n", "b"], ["r"])),
    "resize": net(relu=node("Resize", ["n"], ["r"])),
    "lstm": net(relu=node("LSTM", ["n"], ["r"])),
    "constofshape": net(relu=node("ConstantOfShape", ["n"], ["r"])),
    "constant": net(relu=node("Constant", [], ["r"])),
    "cast": net(relu=node("Cast", ["n"], ["r"])),
    "matmul": net(gemm=node("MatMul", ["f"], ["y"])),
    "add": net(relu=node("Add", ["n"], ["r"])),
    "add2": net(relu=node("Add", ["n", "e"], ["r"]), gb=floats("e", [0])),
    "prelu": net(relu=node("PRelu", ["n"], ["r"])),
    "dq": net(relu=node("DequantizeLinear", ["n"], ["r"])),
    "q": net(relu=node("QuantizeLinear", ["n"], ["r"])),
    "shape": net(relu=node("Shape", [], ["r"])),
    "upsample": net(relu=node("Upsample", ["n"], ["r"])),
    "pow": net(relu=node("Pow", ["n"], ["r"])),
    "inorm": net(bn=node("InstanceNormalization", ["c"], ["n"])),
    "convT": net(conv=node("ConvTranspose", ["x"], ["c"], kernel_shape=[3, 3])),
    "nooutput": net(relu=field(1, "n") + field(4, "Relu")),
    "noop": net(relu=field(1, "n") + field(2, "r")),
    "lrn": net(relu=node("LRN", ["n"], ["r"], size=0)),
    "maxun": net(relu=node("MaxUnpool", ["n"], ["r"])),
    "gavg": net(pool=node("GlobalAveragePool", [], ["p"])),
}
