#!/usr/bin/env python3
"""No C++ file has more than 400 lines; above 350 it is time to think."""

import sys

import tree

LIMIT = 400
WARNING = 350


def check(root):
    for path in tree.cpp_files(root):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > LIMIT:
            yield path, count, f"has {count} lines, more than {LIMIT}: split it"
        elif count > WARNING:
            print(f"note: {path.relative_to(root)} has {count} lines", file=sys.stderr)


if __name__ == "__main__":
    tree.main(check)
