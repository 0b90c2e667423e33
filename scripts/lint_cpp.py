#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Runs clang-tidy (checks of .clang-tidy, every finding an error) over the project's C++.

  scripts/lint_cpp.py                    every source file of the compile database
  scripts/lint_cpp.py FILE...            these files; for a header, the sources that include it
  scripts/lint_cpp.py --changed          what is uncommitted, or was committed in the day before HEAD
  scripts/lint_cpp.py --changed BASE     what differs from BASE
  scripts/lint_cpp.py --list ...         prints the files it would check, in their order

It takes the compile database of build/release (--build: another; configured first where there is none) and
makes the generated headers, nothing else. The preset lint runs the same over a database of clang's.

Order under --changed: changed sources, latest change first; then for each changed header that none of
them includes, one source that does; then all other sources that include a changed header. --budget S
stops after S seconds of checking; the number of files left out is printed, and they are no failure.

A file without a finding is remembered in build/lint_cache (KESTREL_LINT_CACHE: another folder) by a hash
of its compile command, clang-tidy's version, the .clang-tidy files that hold for it, and itself with all
files of the repository and of the build folder that it includes, whether #if takes them or not. Headers
of the system are not part of the hash: after an upgrade of a library use --no-cache.

Exit status: 0 no finding, 1 findings, 2 something else is wrong, 77 no clang-tidy (--skip-without-tool).
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER_SUFFIXES = {".h", ".hpp", ".inc"}
SOURCE_SUFFIXES = {".c", ".cc", ".cpp"}
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def fail(message):
    print(f"lint_cpp.py: {message}", file=sys.stderr)
    sys.exit(2)


def rules(file):
    """The .clang-tidy files that hold for a source file: the repository's and those of its folders."""
    folders = [folder for folder in file.parents if folder == ROOT or ROOT in folder.parents]
    found = [folder / ".clang-tidy" for folder in reversed(folders)]
    return "".join(path.read_text() for path in found if path.exists())


def run(*command, cwd=ROOT):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        fail(f"{shlex.join(map(str, command[:4]))} ... failed:\n{done.stdout[-4000:]}")
    return done.stdout


def prepare(build):
    """Configures a build folder of a preset where needed and makes the headers that a build generates."""
    if not (build / "compile_commands.json").exists():
        if build.parent != ROOT / "build":
            fail(f"{build} has no compile_commands.json")
        run("cmake", "-S", ROOT, "--preset", build.name)
    made = run("ninja", "-C", build, "-t", "targets", "rule", "CUSTOM_COMMAND", cwd=ROOT).split("\n")
    headers = [name for name in made if pathlib.PurePath(name).suffix in HEADER_SUFFIXES]
    if headers:
        run("ninja", "-C", build, *headers)


class Sources:
    """The compile database's files of the repository, and what they include."""

    def __init__(self, build):
        self.build = build
        self.commands, self.folders = {}, {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            path = pathlib.Path(entry["directory"], entry["file"]).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "build") and path.is_file():
                self.commands.setdefault(path, entry["command"])
                self.folders.setdefault(path, entry["directory"])
        self._digests = {}
        self._direct = {}

    def include_folders(self, path):
        words = shlex.split(self.commands[path])
        folders = []
        for word, following in zip(words, words[1:] + [""]):
            folder = following if word == "-isystem" else word[2:] if word.startswith("-I") else ""
            folder = folder and os.path.normpath(os.path.join(self.folders[path], folder))
            if folder and pathlib.Path(folder).is_relative_to(ROOT):
                folders.append(folder)
        return tuple(folders)

    def _digest(self, file):
        if file not in self._digests:
            self._digests[file] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
        return self._digests[file]

    def _includes(self, file, folders):
        key = (file, folders)
        if key not in self._direct:
            found = []
            for quote, name in INCLUDE.findall(pathlib.Path(file).read_bytes()):
                own = (os.path.dirname(file),) if quote == b'"' else ()
                for folder in own + folders:
                    candidate = os.path.normpath(os.path.join(folder, os.fsdecode(name)))
                    if os.path.isfile(candidate):
                        found.append(candidate)
                        break
            self._direct[key] = found
        return self._direct[key]

    def includes(self, path):
        """The file and all files below the repository that it includes, directly or not."""
        folders = self.include_folders(path)
        todo, seen = [str(path)], set()
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo += self._includes(file, folders)
        return seen

    def key(self, path, salt):
        """What a finding depends on, without the folder the repository lies in."""
        place = lambda text: text.replace(str(self.build), "BUILD").replace(str(ROOT), "ROOT")
        digest = hashlib.sha256(f"{salt}\n{place(self.commands[path])}\n".encode())
        for file in sorted(self.includes(path)):
            digest.update(f"{place(file)} {self._digest(file)}\n".encode())
        return digest.hexdigest()


def changed_files(base):
    """Paths of the repository, latest change first. Moves without a change are none."""
    names = run("git", "ls-files", "--others", "--exclude-standard").splitlines()
    log = run("git", "diff", "--name-status", "-M", "HEAD")
    if base is not None:
        log += run("git", "diff", "--name-status", "-M", f"{base}...HEAD")
    else:
        head = int(run("git", "log", "-1", "--format=%ct"))
        log += run("git", "log", "--no-merges", "--name-status", "-M", "--format=", f"--since={head - 86400}")
    for line in log.splitlines():
        status, *files = line.split("\t")
        if files and not status.startswith("D") and status != "R100":
            names.append(files[-1])
    return [ROOT / name for name in dict.fromkeys(names) if (ROOT / name).is_file()]


def sources_of(files, sources, one_first):
    """Sources of the database among `files`, then those that include the headers among them."""
    chosen = [file for file in files if file in sources.commands]
    headers = [file for file in files if file.suffix in HEADER_SUFFIXES]
    if not headers:
        return chosen, []
    below = {path: sources.includes(path) for path in sources.commands}
    orphans = []
    rest = []
    for header in headers:
        users = [path for path in below if str(header) in below[path]]
        if not users:
            orphans.append(header)
        # Few includes, quick to check.
        users.sort(key=lambda path: (len(below[path]), path))
        if one_first and users and not any(path in chosen for path in users):
            chosen.append(users[0])
        rest += users
    return list(dict.fromkeys(chosen + rest)), orphans


def check(tool, build, path, stop):
    """Exit status (None: stopped by the time limit) and the findings."""
    command = [tool, "--quiet", "-p", str(build), "--extra-arg=-Wno-unknown-warning-option", str(path)]
    left = None if stop is None else max(stop - time.monotonic(), 1)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return None, ""
    errors = "" if done.returncode in (0, 1) else done.stderr
    return done.returncode, done.stdout + errors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--changed", nargs="?", const="", metavar="BASE")
    parser.add_argument("--build", type=pathlib.Path,
                        default=ROOT / "build" / os.environ.get("KESTREL_PRESET", "release"))
    parser.add_argument("--budget", type=float, metavar="SECONDS")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-cache", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--skip-without-tool", action="store_true")
    parser.add_argument("--clang-tidy", default="clang-tidy", metavar="PROGRAM")
    arguments = parser.parse_args()
    if arguments.files and arguments.changed is not None:
        parser.error("--changed and FILE exclude each other")

    begin = time.monotonic()
    tool = arguments.clang_tidy
    try:
        version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        if arguments.skip_without_tool:
            print(f"lint_cpp.py: skipped, {tool} does not run: {error}")
            sys.exit(77)
        fail(f"{tool} does not run ({error}); scripts/setup.sh --lint installs it")

    build = arguments.build.resolve()
    prepare(build)
    sources = Sources(build)
    if arguments.changed is not None:
        files, _ = sources_of(changed_files(arguments.changed or None), sources, one_first=True)
    elif arguments.files:
        named = [file.resolve() for file in arguments.files]
        files, orphans = sources_of(named, sources, one_first=False)
        unknown = [str(f) for f in named if f not in sources.commands and f.suffix not in HEADER_SUFFIXES]
        unknown += map(str, orphans)
        if unknown:
            fail(f"not compiled in {build}: {' '.join(unknown)}")
    else:
        files = sorted(sources.commands)
    if arguments.list:
        print("\n".join(str(file.relative_to(ROOT)) for file in files))
        return 0
    if not files and arguments.changed is None:
        fail(f"no source file in {build}/compile_commands.json")

    cache = pathlib.Path(os.environ.get("KESTREL_LINT_CACHE", ROOT / "build" / "lint_cache"))
    cache.mkdir(parents=True, exist_ok=True)
    keys = {file: sources.key(file, version + rules(file)) for file in files}
    known = set() if arguments.no_cache else {f for f in files if (cache / keys[f]).exists()}
    todo = [file for file in files if file not in known]

    # The budget counts from here: preparation is a part of the build.
    prepared = time.monotonic()
    stop = None if arguments.budget is None else prepared + arguments.budget
    left_out, failed, broken = [], [], []
    findings = set()

    def one(file):
        if stop is not None and time.monotonic() > stop:
            return None, "", 0.0
        start = time.monotonic()
        return *check(tool, build, file, stop), time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(max(arguments.jobs, 1)) as pool:
        jobs = {pool.submit(one, file): file for file in todo}
        for job in concurrent.futures.as_completed(jobs):
            file = jobs[job]
            status, output, seconds = job.result()
            name = file.relative_to(ROOT)
            if status is None:
                left_out.append(name)
            elif status == 0:
                (cache / keys[file]).touch()
            else:
                lines = set(re.findall(r"^[^\n]*?:\d+:\d+: (?:error|warning): [^\n]*", output, re.MULTILINE))
                findings |= lines
                (failed if lines else broken).append(name)
                print(f"-- {name} ({seconds:.1f} s)\n{output}", flush=True)

    checked = len(todo) - len(left_out)
    budget = "" if arguments.budget is None else f", budget {arguments.budget:g} s"
    print(f"lint_cpp.py: {len(files)} files: {checked} checked, {len(known)} unchanged since they were clean, "
          f"{len(left_out)} left out for time; {len(findings)} findings; "
          f"{time.monotonic() - begin:.0f} s{budget}")
    if broken:
        fail(f"clang-tidy failed without a finding on {' '.join(map(str, broken))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
