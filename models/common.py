# Copyright The Kestrel Authors
# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST loading, the data split and the augmentation shared by both training scripts.

The split is fixed by position in the file of 60 000 training images:

    train         0 .. 47 999   gradients
    validation   48 000 .. 49 999   watching a run, choosing settings
    calibration  50 000 .. 59 999   never seen by training or selection; confidence thresholds only
    test         the separate file of 10 000 images, used for the reported figures only
"""

import gzip
import struct
from pathlib import Path

import numpy as np

DEFAULT_DATA_DIR = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
SPLITS = {
    "train": ("train", 0, 48000),
    "validation": ("train", 48000, 50000),
    "calibration": ("train", 50000, 60000),
    "test": ("t10k", 0, 10000),
}
CLASSES = 10


def read_idx(path):
    """Return the uint8 array held in a gzip-compressed IDX file, its header checked."""
    with gzip.open(path, "rb") as file:
        data = file.read()
    if len(data) < 4:
        raise ValueError(f"{path}: too short for an IDX header")
    zero, dtype, rank = struct.unpack_from(">HBB", data)
    if zero != 0 or dtype != 0x08:
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    start = 4 + 4 * rank
    if len(data) - start != int(np.prod(shape)):
        raise ValueError(f"{path}: {len(data) - start} bytes of data, {shape} expected")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def load(split, data_dir=DEFAULT_DATA_DIR):
    """Return (images uint8 [N, 28, 28], labels uint8 [N]) of one of SPLITS."""
    stem, first, last = SPLITS[split]
    data_dir = Path(data_dir)
    images = read_idx(data_dir / f"{stem}-images-idx3-ubyte.gz")
    labels = read_idx(data_dir / f"{stem}-labels-idx1-ubyte.gz")
    if len(images) != len(labels) or len(images) < last:
        raise ValueError(f"{data_dir}: {len(images)} images and {len(labels)} labels in {stem}")
    return images[first:last], labels[first:last]


def augment(images, rng, shift=2, erase=0.5):
    """Random horizontal flip, shift by up to `shift` pixels and random erasing (probability `erase`).

    images: uint8 [N, 28, 28]; returns float32 [N, 28, 28, 1] in 0..1.
    """
    count, height, width = images.shape
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    rows = rng.integers(0, 2 * shift + 1, (count, 1)) + np.arange(height)
    cols = rng.integers(0, 2 * shift + 1, (count, 1)) + np.arange(width)
    flip = rng.random(count) < 0.5
    cols[flip] = cols[flip, ::-1]
    out = padded[np.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :]]
    for index in np.flatnonzero(rng.random(count) < erase):
        area = rng.uniform(0.02, 0.25) * height * width
        aspect = np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
        tall = int(np.clip(round(np.sqrt(area * aspect)), 1, height - 1))
        wide = int(np.clip(round(np.sqrt(area / aspect)), 1, width - 1))
        top = rng.integers(0, height - tall + 1)
        left = rng.integers(0, width - wide + 1)
        out[index, top : top + tall, left : left + wide] = rng.integers(0, 256, (tall, wide))
    return (out.astype(np.float32) / 255.0)[..., None]


def to_float(images):
    """uint8 [N, 28, 28] -> float32 [N, 28, 28, 1] in 0..1, as both networks take it in training."""
    return (images.astype(np.float32) / 255.0)[..., None]
