#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Small models that once went wrong, over real HTTP and the real command line.

Usage: cases.py KESTREL DATA. DATA/cases/onnx/*.onnx with an .npz each (x inputs, y the model's own
outputs by ONNX Runtime): `kestrel dc` serves them with one softmax, or refuses by name.
DATA/cases/tflite/appended_labels: `kestrel run` ignores what stands behind the FlatBuffer.
Exit status 77, with a message, where the data or NumPy are absent.
"""

import http.client
import json
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is absent (Debian package python3-numpy)")
    sys.exit(SKIPPED)

failures = 0


def check(good, text):
    global failures
    failures += not good
    print("pass " if good else "FAIL ", text)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def ask(port, name, x, shape, datatype="FP32"):
    """(status, probabilities or the error's words) of one inference."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "data": x.ravel().tolist()}
    connection.request("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": [tensor]}))
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        return response.status, answer["error"]
    outputs = {o["name"]: o for o in answer["outputs"]}
    p = np.array(outputs["probabilities"]["data"]).reshape(outputs["probabilities"]["shape"])
    check(outputs["class"]["data"] == p.argmax(axis=1).tolist(), f"{name}: class is the largest")
    return 200, p


def served(kestrel, model, use):
    """Calls use(port) while the model is served; returns the words of a refusal, or None."""
    process = subprocess.Popen(
        [kestrel, "dc", "--model", model, "--port", "0", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        if not line:
            return process.communicate(timeout=60)[1].strip()
        use(json.loads(line)["port"])
        return None
    finally:
        process.terminate()
        process.communicate(timeout=60)


def onnx_case(kestrel, model):
    name = model.stem
    data = np.load(model.with_suffix(".npz"))
    x, y = data["x"], data["y"].astype(np.float64)
    n = len(x)
    if (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-4):
        expected = y
    elif np.allclose(np.exp(y).sum(axis=1), 1, atol=1e-4):
        expected = np.exp(y)
    elif (y > 0).all() and (y < 1).all():
        expected = None  # a sigmoid: no distribution, refused
    else:
        expected = softmax(y)

    def use(port):
        if expected is None:
            check(False, f"{name}: is served, but its outputs are no distribution")
            return
        for shape in ([n, 1, 28, 28], list(x.shape)):
            status, p = ask(port, name, x, shape)
            check(
                status == 200 and np.abs(p - expected).max() < 1e-5,
                f"{name}: {shape} gives the model's own probabilities"
                + (f" (to {np.abs(p - expected).max():.1e})" if status == 200 else f": {p}"),
            )
        single = [ask(port, name, image, [1, 1, 28, 28])[1] for image in x]
        check(np.abs(np.concatenate(single) - expected).max() < 1e-5, f"{name}: one by one as well")

    refusal = served(kestrel, model, use)
    if refusal is not None:
        check(
            expected is None and "Sigmoid" in refusal and model.name in refusal,
            f"{name}: refused: {refusal}",
        )


def tflite_case(kestrel, model):
    data = np.load(model.with_suffix(".npz"))
    with tempfile.TemporaryDirectory() as folder:
        x, y = f"{folder}/x.npy", f"{folder}/y.npy"
        np.save(x, data["x0"])
        done = subprocess.run(
            [kestrel, "run", model, "--input", x, "--output", y], capture_output=True, text=True
        )
        check(done.returncode == 0, f"{model.stem}: runs {done.stderr.strip()}")
        if done.returncode == 0:
            got = np.load(y)
            check(
                got.dtype == data["y0"].dtype and np.array_equal(got.ravel(), data["y0"].ravel()),
                f"{model.stem}: {len(got)} outputs equal to the reference kernels",
            )


def main():
    kestrel, cases = sys.argv[1], pathlib.Path(sys.argv[2]) / "cases"
    models = sorted((cases / "onnx").glob("*.onnx"))
    labels = cases / "tflite" / "appended_labels.tflite"
    if not models and not labels.exists():
        print(f"skipped: no cases under {cases} (KESTREL_DATA_DIR)")
        return SKIPPED
    for model in models:
        onnx_case(kestrel, model)
    if labels.exists():
        tflite_case(kestrel, labels)
    print(f"{len(models)} ONNX models, {failures} failed checks")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
