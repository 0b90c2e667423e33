#!/usr/bin/env python3
# Copyright The Kestrel Authors
# SPDX-License-Identifier: Apache-2.0
"""Train the edge network for Fashion-MNIST and write it as an int8 TFLite file.

A depthwise-separable network small enough for cycle-accurate simulation. Adam with a cosine learning
rate; the weights exported are those of the last epoch (nothing is selected by validation accuracy).
Quantisation is TensorFlow Lite's own post-training one, per output channel, its ranges taken from
training images; the input is int8 = pixel - 128.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import common

layers = keras.layers
HERE = Path(__file__).resolve().parent
REPRESENTATIVE_IMAGES = 500


def norm_relu(x, name):
    x = layers.BatchNormalization(momentum=0.95, epsilon=1e-3, name=name + "_bn")(x)
    return layers.ReLU(6.0, name=name + "_relu")(x)


def conv(x, channels, name, size=3, stride=1):
    x = layers.Conv2D(channels, size, stride, "same", use_bias=False, name=name)(x)
    return norm_relu(x, name)


def depthwise(x, name, stride=1):
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name)(x)
    return norm_relu(x, name)


def build(batch=None):
    """float32 [N, 28, 28, 1] in 0..1 -> probabilities [N, 10]."""
    image = keras.Input((28, 28, 1), batch_size=batch, name="image")
    x = conv(image, 16, "stem", stride=2)  # 14 x 14
    x = depthwise(x, "dw1")
    x = conv(x, 32, "pw1", size=1)
    x = depthwise(x, "dw2", stride=2)  # 7 x 7
    x = conv(x, 64, "pw2", size=1)
    x = depthwise(x, "dw3")
    x = conv(x, 96, "pw3", size=1)
    x = layers.AveragePooling2D(7, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(common.CLASSES, name="classifier")(x)
    x = layers.Softmax(name="probabilities")(x)
    return keras.Model(image, x)


def multiply_accumulates(model):
    """Multiply-accumulates of one inference: output positions x kernel elements, per layer."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, (layers.DepthwiseConv2D, layers.Conv2D)):
            total += int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def quantise(model, images):
    """keras model -> bytes of an int8 TFLite file with batch 1."""
    fixed = build(batch=1)
    fixed.set_weights(model.get_weights())
    function = tf.function(lambda image: fixed(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 28, 28, 1), tf.float32, "image"))
    frozen = convert_variables_to_constants_v2(concrete)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # The blank and the white image pin the input range to 0..1: scale 1/255, zero point -128.
    samples = np.concatenate([common.to_float(images), np.zeros((1, 28, 28, 1), np.float32)])
    samples[-1, 0, 0, 0] = 1.0
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


def int8_accuracy(content, images, labels):
    """Accuracy of the quantised file under TensorFlow Lite's reference kernels."""
    kind = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    if abs(scale * 255 - 1) > 1e-6 or zero != -128:
        raise ValueError(f"input quantisation {scale}, {zero}; 1/255, -128 expected")
    right = 0
    for image, label in zip(images, labels):
        value = (image.astype(np.int16) - 128).astype(np.int8)[None, :, :, None]
        interpreter.set_tensor(source["index"], value)
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(target["index"])) == label)
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", default=common.DEFAULT_DATA_DIR)
    parser.add_argument("--output", default=HERE / "edge" / "fmnist_edge_int8.tflite")
    parser.add_argument("--log", default=HERE / "edge" / "train.log")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(args.seed)
    log_file = open(args.log, "w")

    def log(text):
        print(text, flush=True)
        print(text, file=log_file, flush=True)

    images, labels = common.load("train", args.data_dir)
    check_images, check_labels = common.load("validation", args.data_dir)
    check_floats = common.to_float(check_images)
    steps = len(images) // args.batch

    model = build()
    optimiser = keras.optimizers.Adam(args.lr)
    optimiser.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy()

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimiser.apply_gradients(zip(grads, model.trainable_variables))
        return loss

    @tf.function
    def classify(x):
        return model(x, training=False)

    log(
        f"tensorflow {tf.__version__} parameters {model.count_params()} "
        f"multiply-accumulates {multiply_accumulates(model)} train {len(images)} "
        f"validation {len(check_images)} epochs {args.epochs} batch {args.batch} lr {args.lr} "
        f"seed {args.seed}"
    )
    for epoch in range(args.epochs):
        start = time.time()
        rng = np.random.default_rng([args.seed, epoch])
        order = rng.permutation(len(images))
        total = 0.0
        for step in range(steps):
            pick = order[step * args.batch : (step + 1) * args.batch]
            done = (epoch * steps + step) / (args.epochs * steps)
            optimiser.learning_rate.assign(args.lr * 0.5 * (1.0 + np.cos(np.pi * done)))
            x = common.augment(images[pick], rng, shift=1, erase=0.0)
            total += float(train_step(x, labels[pick].astype(np.int32)))
        found = np.argmax(classify(check_floats), axis=1)
        log(
            f"epoch {epoch + 1:2d}/{args.epochs} loss {total / steps:.4f} "
            f"validation {np.mean(found == check_labels):.4f} seconds {time.time() - start:.0f}"
        )

    content = quantise(model, images[:REPRESENTATIVE_IMAGES])
    Path(args.output).write_bytes(content)
    log(f"int8 validation {int8_accuracy(content, check_images, check_labels):.4f}")
    log(f"exported {Path(args.output).name} {len(content)} bytes")


if __name__ == "__main__":
    main()
