#!/usr/bin/env python3
# Copyright The Kestrel Authors
# SPDX-License-Identifier: Apache-2.0
"""Print the accuracy of the committed networks on the test and the calibration images.

The edge network runs in tflite-runtime under the reference kernels (the normative int8 behaviour),
the DC network in OpenCV's DNN module. --reference compares the DC network with the probabilities
that the training framework gave for the same file (written by train_dc.py).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

import common

HERE = Path(__file__).resolve().parent


def edge_outputs(path, images):
    """int8 probabilities [N, 10] of the TFLite file for uint8 images [N, 28, 28]."""
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    if abs(scale * 255 - 1) > 1e-6 or zero != -128:
        raise SystemExit(f"{path}: input quantisation {scale}, {zero}; 1/255, -128 expected")
    outputs = np.empty((len(images), common.CLASSES), np.int8)
    for index, image in enumerate(images):
        value = (image.astype(np.int16) - 128).astype(np.int8)
        interpreter.set_tensor(source["index"], value[None, :, :, None])
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(target["index"])[0]
    return outputs


def dc_outputs(path, images, batch=100):
    """float32 probabilities [N, 10] of the ONNX file for uint8 images [N, 28, 28]."""
    network = cv2.dnn.readNetFromONNX(str(path))
    outputs = []
    for first in range(0, len(images), batch):
        network.setInput((images[first : first + batch, None] / 255.0).astype(np.float32))
        outputs.append(network.forward().copy())
    return np.concatenate(outputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", default=common.DEFAULT_DATA_DIR)
    parser.add_argument("--edge", default=HERE / "edge" / "fmnist_edge_int8.tflite")
    parser.add_argument("--dc", default=HERE / "dc" / "fmnist_dc.onnx")
    parser.add_argument("--split", action="append", choices=list(common.SPLITS))
    parser.add_argument("--reference", help="reference.npz of the DC training run")
    args = parser.parse_args()

    for split in args.split or ["test", "calibration"]:
        images, labels = common.load(split, args.data_dir)
        edge = np.argmax(edge_outputs(args.edge, images), axis=1) == labels
        dc = np.argmax(dc_outputs(args.dc, images), axis=1) == labels
        print(
            f"{split:<11} images {len(images)}  edge {edge.mean():.4f}  dc {dc.mean():.4f}  "
            f"either {np.mean(edge | dc):.4f}",
            flush=True,
        )
    if args.reference:
        reference = np.load(args.reference)
        images = np.round(reference["images"][..., 0] * 255).astype(np.uint8)
        worst = 0.0
        for batch in (1, len(images)):
            got = dc_outputs(args.dc, images, batch)
            worst = max(worst, float(np.abs(got - reference["probabilities"]).max()))
        print(f"dc          largest difference from the training framework {worst:.1e}")
        if worst > 1e-4:
            raise SystemExit("the ONNX file differs from the network that was trained")


if __name__ == "__main__":
    main()
