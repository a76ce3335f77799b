#!/usr/bin/env python3
"""Breaks one rule of the sources at a time and requires that the tests notice.

Usage: check.py BUILD_DIRECTORY [TEXT...]      only rules whose text contains one of these

Works on a copy of the sources under BUILD_DIRECTORY, where first the tests must pass as they are. Prints
PASS or FAIL for each rule, and last `N passed, N failed, N skipped`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from mutations import MUTATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ["ipc", "primary", "runtime", "secondary", "tests", "docs", "examples"]
LIMIT = 900  # seconds for the tests of one rule


def quietly(command, **options):
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


class Workshop:
    """A copy of the sources, and a build of it for each sanitizer."""

    def __init__(self, directory):
        self.tree = directory / "tree"
        shutil.rmtree(self.tree, ignore_errors=True)
        self.tree.mkdir(parents=True)
        for name in SOURCES:
            # Times stay as they are: what was built before need not be built again.
            shutil.copytree(ROOT / name, self.tree / name, symlinks=True)
        for name in ("meson.build", "meson_options.txt", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, self.tree)
        # An earlier run may have left these built as it had broken them last.
        for mutation in MUTATIONS:
            (self.tree / mutation.file).touch()
        self.builds = directory

    def build(self, mutation):
        """The directory of a build that is up to date, or what the compiler says."""
        build = self.builds / f"build-{mutation.sanitize or 'plain'}"
        if not (build / "build.ninja").is_file():
            options = ["-Dtests=true", "-Dtools=true", "-Dfault_points=true", "-Ddebug=false"]
            options += ["-Dwerror=false", "-Dcpp_args=-g1"]
            if mutation.sanitize:
                options += [f"-Db_sanitize={mutation.sanitize}", "-Doptimization=1"]
            made = quietly(["meson", "setup", build, self.tree, *options])
            if made.returncode != 0:
                return None, made.stdout
        made = quietly(["ninja", "-C", build, f"{mutation.suite}_suite"])
        return (build, "") if made.returncode == 0 else (None, made.stdout)

    def run(self, build, mutation):
        """None when the selected tests passed, else how they ended. Throws when none ran."""
        program = build / "tests" / f"{mutation.suite}_tests"
        environment = os.environ | {"TSAN_OPTIONS": "exitcode=99:die_after_fork=0"}
        command = [program, mutation.tests]
        if mutation.sanitize == "thread":
            command = ["setarch", "-R", *command]
        try:
            ended = quietly(command, timeout=LIMIT, env=environment, cwd=build)
        except subprocess.TimeoutExpired:
            return f"did not end within {LIMIT} s"
        if "No test" in ended.stdout:
            raise RuntimeError(f"\"{mutation.tests}\" selects no test of {mutation.suite}")
        return None if ended.returncode == 0 else f"exit code {ended.returncode}"


def fits(mutation):
    return (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.before) == 1


def fault_unbroken(workshop, mutation):
    """What is wrong with the tests of this rule while it is kept, or None."""
    build, complaint = workshop.build(mutation)
    if build is None:
        return f"does not build unbroken:\n{complaint[-2000:]}"
    ended = workshop.run(build, mutation)
    return f"the tests fail unbroken: {ended}" if ended else None


def fault_broken(workshop, mutation):
    """What is wrong with the tests of this rule when it is broken, or None."""
    if not fits(mutation):
        return f"{mutation.file} does not contain once what is to be broken"
    path = workshop.tree / mutation.file
    sound = path.read_text(encoding="utf-8")
    try:
        path.write_text(sound.replace(mutation.before, mutation.after), encoding="utf-8")
        build, complaint = workshop.build(mutation)
        if build is None:
            return f"does not build broken:\n{complaint[-2000:]}"
        return None if workshop.run(build, mutation) else "no test notices"
    finally:
        path.write_text(sound, encoding="utf-8")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    workshop = Workshop(pathlib.Path(sys.argv[1]).resolve())
    texts = sys.argv[2:] or [""]
    chosen = [each for each in MUTATIONS if any(text in each.rule for text in texts)]
    # Unbroken first: a build that goes to and fro would be made twice as often.
    unbroken = {}
    for mutation in chosen:
        key = (mutation.sanitize, mutation.suite, mutation.tests)
        if key not in unbroken:
            unbroken[key] = fault_unbroken(workshop, mutation)
    failed = passed = 0
    for mutation in chosen:
        key = (mutation.sanitize, mutation.suite, mutation.tests)
        fault = unbroken[key] or fault_broken(workshop, mutation)
        passed += fault is None
        failed += fault is not None
        print(f"{'FAIL' if fault else 'PASS'} {mutation.rule}{': ' + fault if fault else ''}",
              flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
