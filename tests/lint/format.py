#!/usr/bin/env python3
"""Every C++ file looks as clang-format 14 makes it look (another version lays out differently)."""

import re
import shutil
import subprocess

import tree

MESSAGE = re.compile(r"(.*?):(\d+):\d+: error: code should be clang-formatted")


def clang_format():
    for name in ["clang-format-14", "clang-format"]:
        if shutil.which(name):
            version = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
            if "version 14." in version:
                return name
    raise tree.Missing("clang-format-14")


def check(root):
    program = clang_format()
    paths = list(tree.cpp_files(root))
    if not paths:
        return
    style = f"--style=file:{root / '.clang-format'}"
    run = subprocess.run(
        [program, "--dry-run", "-Werror", style, *paths], capture_output=True, text=True
    )
    seen = set()
    for message in filter(None, map(MESSAGE.match, run.stderr.splitlines())):
        if message[1] not in seen:  # the first place is enough: the remedy is the same
            seen.add(message[1])
            yield message[1], message[2], f"is not formatted: run {program} -i on it"
    if run.returncode != 0 and not seen:
        yield root / ".clang-format", 1, run.stderr.strip()


if __name__ == "__main__":
    tree.main(check)
