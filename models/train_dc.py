#!/usr/bin/env python3
# Copyright The Kestrel Authors
# SPDX-License-Identifier: Apache-2.0
"""Train the DC network for Fashion-MNIST and export it to ONNX.

A residual network: stem at 28x28, two blocks at 14x14 with 64 channels, two at 7x7 with 128.
SGD with Nesterov momentum; the learning rate warms up for one epoch, stays, and falls linearly to
zero over the last --decay-epochs. What is exported is a moving average of the weights, with batch
normalisation folded into the convolutions. The run can be stopped and restarted: each finished
epoch leaves a checkpoint in --work-dir, and a restart goes on from there (also with another --epochs,
as long as the decay has not begun).

The last epoch is the result: nothing is selected by its validation accuracy.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow import keras

import common
import onnx_export

layers = keras.layers
HERE = Path(__file__).resolve().parent


def conv_bn(x, channels, name, stride=1, relu=True):
    """3x3 convolution with symmetric padding 1 and batch normalisation (OpenCV's DNN module
    refuses the one-sided padding that TensorFlow's "same" means at stride 2)."""
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(
        channels, 3, stride, "valid", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name + "_bn")(x)
    return layers.ReLU()(x) if relu else x


def block(x, channels, name):
    y = conv_bn(x, channels, name + "a")
    y = conv_bn(y, channels, name + "b", relu=False)
    return layers.ReLU()(layers.Add()([x, y]))


def build():
    """float32 [N, 28, 28, 1] in 0..1 -> logits [N, 10]. The structure is repeated in onnx_export."""
    image = keras.Input((28, 28, 1))
    x = conv_bn(image, 32, "stem")
    x = conv_bn(x, 64, "down1", stride=2)
    x = block(x, 64, "block1")
    x = block(x, 64, "block2")
    x = conv_bn(x, 128, "down2", stride=2)
    x = block(x, 128, "block3")
    x = block(x, 128, "block4")
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(common.CLASSES, name="classifier", dtype="float32")(x)
    return keras.Model(image, x)


def learning_rate(args, step, steps_per_epoch):
    """Trapezoid: warm-up over one epoch, constant, linear to zero over the last decay_epochs."""
    epoch = step / steps_per_epoch
    return args.lr * min(1.0, epoch + 1e-3, (args.epochs - epoch) / args.decay_epochs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", default=common.DEFAULT_DATA_DIR)
    parser.add_argument("--work-dir", default="build/models/dc", help="checkpoints")
    parser.add_argument("--output", default=HERE / "dc" / "fmnist_dc.onnx")
    parser.add_argument("--log", default=HERE / "dc" / "train.log")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--decay-epochs", type=float, default=10)
    parser.add_argument("--clean-epochs", type=int, default=2, help="last epochs without erasing")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--ema", type=float, default=0.996)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="mixed_bfloat16")
    args = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(args.seed)
    work = Path(args.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    state_file = work / "state.npz"
    log_file = open(args.log, "a" if state_file.exists() else "w")

    def log(text):
        print(text, flush=True)
        print(text, file=log_file, flush=True)

    images, labels = common.load("train", args.data_dir)
    check_images, check_labels = common.load("validation", args.data_dir)
    check_images = common.to_float(check_images)
    steps = len(images) // args.batch

    keras.mixed_precision.set_global_policy(args.precision)
    model = build()
    keras.mixed_precision.set_global_policy("float32")
    average = build()  # holds the moving average; evaluated and exported in float32
    average.set_weights(model.get_weights())

    weights = model.trainable_variables
    decayed = [w for w in weights if w.path.endswith("kernel")]
    momenta = [tf.Variable(tf.zeros(w.shape), trainable=False) for w in weights]
    pairs = list(zip(average.variables, model.variables))
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=args.smoothing)

    @tf.function(jit_compile=False)
    def train_step(x, y, rate, keep):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        grads = tape.gradient(loss, weights)
        for weight, grad, momentum in zip(weights, grads, momenta):
            grad = tf.cast(grad, tf.float32)
            if any(weight is d for d in decayed):
                grad += args.weight_decay * weight
            momentum.assign(0.9 * momentum + grad)
            weight.assign_sub(rate * (grad + 0.9 * momentum))
        for mean, value in pairs:
            mean.assign(keep * mean + (1.0 - keep) * value)
        return loss

    @tf.function
    def classify(x):
        return average(x, training=False)

    def accuracy(x, y):
        found = [np.argmax(classify(x[i : i + 500]), axis=1) for i in range(0, len(x), 500)]
        return float(np.mean(np.concatenate(found) == y))

    first = 0
    if state_file.exists():
        state = np.load(state_file)
        first = int(state["epoch"])
        model.set_weights([state[f"w{i}"] for i in range(len(model.weights))])
        average.set_weights([state[f"a{i}"] for i in range(len(average.weights))])
        for i, momentum in enumerate(momenta):
            momentum.assign(state[f"m{i}"])
        log(f"restarted after epoch {first}")
    log(
        f"tensorflow {tf.__version__} {args.precision} parameters {model.count_params()} "
        f"train {len(images)} validation {len(check_images)} epochs {args.epochs} "
        f"decay {args.decay_epochs} clean {args.clean_epochs} batch {args.batch} lr {args.lr} "
        f"weight-decay {args.weight_decay} smoothing {args.smoothing} ema {args.ema} seed {args.seed}"
    )

    for epoch in range(first, args.epochs):
        start = time.time()
        rng = np.random.default_rng([args.seed, epoch])
        order = rng.permutation(len(images))[: steps * args.batch]
        erase = 0.0 if epoch >= args.epochs - args.clean_epochs else 0.5
        total = 0.0
        for step in range(steps):
            pick = order[step * args.batch : (step + 1) * args.batch]
            done = epoch * steps + step
            rate = learning_rate(args, done, steps)
            keep = min(args.ema, (1 + done) / (10 + done))
            x = common.augment(images[pick], rng, erase=erase)
            y = np.eye(common.CLASSES, dtype=np.float32)[labels[pick]]
            total += float(train_step(x, y, tf.constant(rate, tf.float32), tf.constant(keep, tf.float32)))
            if sys.stdout.isatty():
                print(f"\repoch {epoch + 1}/{args.epochs} step {step + 1}/{steps}", end="\r")
        log(
            f"epoch {epoch + 1:2d}/{args.epochs} lr {rate:.4f} loss {total / steps:.4f} "
            f"validation {accuracy(check_images, check_labels):.4f} seconds {time.time() - start:.0f}"
        )
        state = {"epoch": epoch + 1}
        state |= {f"w{i}": w for i, w in enumerate(model.get_weights())}
        state |= {f"a{i}": w for i, w in enumerate(average.get_weights())}
        state |= {f"m{i}": m.numpy() for i, m in enumerate(momenta)}
        np.savez(work / "next.npz", **state)
        os.replace(work / "next.npz", state_file)
        onnx_export.export(average, args.output)

    reference = keras.Sequential([average, layers.Softmax()])(check_images[:8], training=False)
    np.savez(work / "reference.npz", images=check_images[:8], probabilities=reference.numpy())
    log(f"exported {Path(args.output).name} {Path(args.output).stat().st_size} bytes")


if __name__ == "__main__":
    main()
