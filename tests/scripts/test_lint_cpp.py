#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""scripts/lint_cpp.py on a small repository: findings fail, clean files are remembered until something
they include changes, --changed finds what it says it does, the time budget leaves files out.

Exit status 77 where there is no clang-tidy."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

NINJA = """
rule CUSTOM_COMMAND
  command = echo 'inline int generated() { return 1; }' > $out
build gen/generated.hpp: CUSTOM_COMMAND
"""
CLEAN = {
    "src/a.cpp": '#include "lib/a.hpp"\n#include "generated.hpp"\nint a() { return inner() + generated(); }\n',
    "src/b.cpp": "int b() { return 2; }\n",
    "src/c.cpp": '#include "lib/a.hpp"\nint c() { return inner(); }\n',
    "lib/a.hpp": "#pragma once\n#include \"inner.hpp\"\n",
    "lib/inner.hpp": "#pragma once\ninline int inner() { return 3; }\n",
}
FAULT = "int *fault() { return 0; }\n"  # modernize-use-nullptr


class LintCpp(unittest.TestCase):
    def setUp(self):
        # Resolved: the temporary folder may lie behind a link.
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="kestrel-lint-")).resolve()
        self.addCleanup(shutil.rmtree, self.root)
        for name, text in CLEAN.items():
            self.write(name, text)
        for name in ("scripts/lint_cpp.py", ".clang-tidy"):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        # The header filter of .clang-tidy names the project's folders.
        self.write(".clang-tidy", (self.root / ".clang-tidy").read_text().replace("/(host|", "/(lib|host|"))
        self.write(".gitignore", "/build/\n")
        build = self.root / "build" / "release"
        self.write("build/release/build.ninja", NINJA)
        self.write("build/release/compile_commands.json", json.dumps([
            {"directory": str(build), "file": str(self.root / name),
             "command": f"/usr/bin/c++ -I{self.root} -Igen -Wall -std=c++20 -c {self.root / name}"}
            for name in CLEAN if name.endswith(".cpp")]))
        self.git("init", "-q", "-b", "main")
        self.commit("2026-01-01T00:00:00")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *arguments, date="2026-01-01T00:00:00"):
        identity = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER")
                    for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **identity, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        subprocess.run(["git", *arguments], cwd=self.root, env=environment, check=True,
                       stdout=subprocess.DEVNULL)

    def commit(self, date):
        self.git("add", "-A", date=date)
        self.git("commit", "-q", "-m", "state", date=date)

    def lint(self, *arguments, status=0):
        environment = {k: v for k, v in os.environ.items() if k not in ("KESTREL_LINT_CACHE", "KESTREL_PRESET")}
        done = subprocess.run([sys.executable, "scripts/lint_cpp.py", *arguments], cwd=self.root, text=True,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def test_clean_files_are_remembered_until_an_included_file_changes(self):
        self.assertIn("3 files: 3 checked, 0 unchanged", self.lint())
        self.assertIn("3 files: 0 checked, 3 unchanged", self.lint())
        self.assertIn("3 files: 3 checked, 0 unchanged", self.lint("--no-cache"))
        self.write("lib/inner.hpp", CLEAN["lib/inner.hpp"] + "inline " + FAULT)
        output = self.lint(status=1)
        self.assertIn("3 files: 2 checked, 1 unchanged", output)
        self.assertIn("1 findings", output)  # the same line of a header, seen from two sources
        self.assertIn("lib/inner.hpp:3:30: error: use nullptr", output)
        self.assertIn("3 files: 2 checked, 1 unchanged", self.lint(status=1))  # findings are not remembered
        self.write(".clang-tidy", "Checks: '-*,misc-redundant-expression'\n")
        self.assertIn("3 files: 3 checked, 0 unchanged", self.lint())

    def test_changed(self):
        def changed(*arguments):
            return self.lint("--list", "--changed", *arguments).split()

        self.write("src/b.cpp", CLEAN["src/b.cpp"] + "\n")
        self.commit("2026-01-03T00:00:00")
        self.assertEqual(changed(), ["src/b.cpp"])
        self.write("lib/inner.hpp", CLEAN["lib/inner.hpp"] + "\n")
        self.commit("2026-01-03T12:00:00")
        self.assertEqual(changed(), ["src/b.cpp", "src/c.cpp", "src/a.cpp"])
        self.assertEqual(changed("HEAD~1"), ["src/c.cpp", "src/a.cpp"])
        self.write("README", "")
        self.commit("2026-01-04T06:00:00")  # more than a day after the first, less after the second
        self.assertEqual(changed(), ["src/c.cpp", "src/a.cpp"])
        self.write("src/a.cpp", CLEAN["src/a.cpp"] + FAULT)  # not committed: comes first
        self.assertEqual(changed(), ["src/a.cpp", "src/c.cpp"])
        self.assertIn("src/a.cpp:4:23: error: use nullptr", self.lint("--changed", status=1))
        self.git("mv", "src/b.cpp", "src/d.cpp")
        self.assertEqual(changed(), ["src/a.cpp", "src/c.cpp"])

    def test_a_generated_header_is_part_of_what_is_remembered(self):
        self.lint()
        self.write("build/release/gen/generated.hpp", "inline int generated() { return 2; }\n")
        self.assertIn("3 files: 1 checked, 2 unchanged", self.lint())

    def test_files_by_name(self):
        self.assertEqual(self.lint("--list", "src/b.cpp", "lib/a.hpp").split(),
                         ["src/b.cpp", "src/c.cpp", "src/a.cpp"])
        self.write("src/new.cpp", "")
        self.assertIn("src/new.cpp", self.lint("src/new.cpp", status=2))

    def test_budget_leaves_files_out_and_says_so(self):
        output = self.lint("--budget", "0")
        self.assertIn("3 files: 0 checked, 0 unchanged since they were clean, 3 left out for time", output)
        self.assertIn("3 files: 3 checked", self.lint())  # what was left out was not remembered

    def test_a_file_that_does_not_compile_is_no_clean_file(self):
        self.write("src/b.cpp", "int b() { return nothing; }\n")
        self.assertIn("undeclared identifier", self.lint("src/b.cpp", status=1))
        self.write("src/b.cpp", '#include "missing.hpp"\n')
        self.assertIn("missing.hpp", self.lint("src/b.cpp", status=1))


if __name__ == "__main__":
    if not shutil.which("clang-tidy"):
        print("skipped: no clang-tidy (scripts/setup.sh installs it)")
        sys.exit(77)
    unittest.main(verbosity=2)
