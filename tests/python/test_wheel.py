#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Builds a wheel from python/, looks into it, installs it alone and runs the binding's tests on it.

test_wheel.py FOLDER: works in FOLDER, which is kept so that the next build is short. Run it with an
interpreter that has NumPy and what pyproject.toml requires: nothing is downloaded.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.out = FOLDER / "wheels"
        shutil.rmtree(cls.out, ignore_errors=True)
        cls.pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", cls.out,
                "--config-settings", f"build-dir={FOLDER / 'build'}", ROOT / "python")
        (cls.wheel,) = cls.out.glob("*.whl")

    @staticmethod
    def pip(*arguments):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"pip: {done.stdout[-4000:]}\n{done.stderr[-4000:]}")

    def test_content(self):
        with zipfile.ZipFile(self.wheel) as file:
            names = set(file.namelist())
            (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
            text = file.read(metadata).decode()
        package = {n.removeprefix("kestrel_thc/") for n in names if n.startswith("kestrel_thc/")}
        (extension,) = (n for n in package if n.endswith(".so"))
        self.assertTrue(extension.startswith("_core.cpython-"))
        self.assertEqual(
            package - {extension}, {"__init__.py", "_core.pyi", "hook.py", "py.typed"}
        )
        for line in ("Name: kestrel-thc", "License-Expression: Apache-2.0", "Requires-Dist: numpy"):
            self.assertIn(line, text)
        version = self.wheel.name.split("-")[1]
        self.assertIn(f'VERSION {version}\n', (ROOT / "CMakeLists.txt").read_text())

    def test_needs_no_library_of_the_project_or_the_system(self):
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(self.wheel) as file:
                (extension,) = (n for n in file.namelist() if n.endswith(".so"))
                path = file.extract(extension, folder)
            said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        needed = {pathlib.Path(line.split()[0]).name for line in said.splitlines()}
        self.assertIn("libc.so.6", needed)
        usual = ("linux-vdso", "ld-linux", "libc.", "libm.", "libgcc_s.", "libstdc++.", "libpthread.")
        self.assertEqual([n for n in needed if not n.startswith(usual)], [])

    def test_binding_tests_pass_on_the_installed_wheel(self):
        with tempfile.TemporaryDirectory() as folder:
            site = pathlib.Path(folder) / "site"
            self.pip("install", "--no-deps", "--no-index", "--target", site, self.wheel)
            environment = {**os.environ, "PYTHONPATH": str(site)}
            where = subprocess.run(
                [sys.executable, "-c", "import kestrel_thc; print(kestrel_thc.__file__)"],
                env=environment, cwd=folder, capture_output=True, text=True, check=True,
            )
            self.assertEqual(where.stdout.strip(), str(site / "kestrel_thc" / "__init__.py"))
            done = subprocess.run(
                [sys.executable, "-B", str(ROOT / "tests/python/test_kestrel_thc.py"),
                 "Binding", "Docs", "Package"],
                env=environment, cwd=folder, capture_output=True, text=True,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stderr, r"Ran \d\d tests")


if __name__ == "__main__":
    if FOLDER is None:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
