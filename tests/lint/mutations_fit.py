#!/usr/bin/env python3
"""Each rule that tests/mutation breaks still stands in the sources as it is written there."""

import runpy
import sys

import tree


def check(root):
    table = root / "tests/mutation/mutations.py"
    if not table.is_file():
        return
    sys.path.insert(0, str(table.parent))  # for what it imports
    for mutation in runpy.run_path(str(table))["MUTATIONS"]:
        source = root / mutation.file
        count = source.read_text(encoding="utf-8").count(mutation.before) if source.is_file() else 0
        if count != 1 or mutation.before == mutation.after:
            yield table, 1, f"\"{mutation.rule}\" breaks what is {count} times in {mutation.file}"


if __name__ == "__main__":
    tree.main(check)
