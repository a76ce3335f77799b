#!/usr/bin/env python3
"""No volatile in code (asm excepted: that is another word), and nothing left to do anywhere."""

import re

import tree

# Strings and comments are blanked, newlines kept, so that line numbers stay true.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.DOTALL)
VOLATILE = re.compile(r"(?<!asm )(?<!__asm__ )\bvolatile\b")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
TEXT = {".hpp", ".cpp", ".md", ".py", ".sh", ".build", ".txt"}


def check(root):
    for path in tree.cpp_files(root):
        text = path.read_text(encoding="utf-8")
        code = NOT_CODE.sub(lambda match: "\n" * match[0].count("\n"), text)
        for number, line in enumerate(code.splitlines(), 1):
            if VOLATILE.search(line):
                yield path, number, "volatile orders nothing between processes: use std::atomic"
    for path in tree.files(root, TEXT, [*tree.ROOMS, "docs"]):
        for number, line in tree.lines(path):
            if found := UNFINISHED.search(line):
                yield path, number, f"{found[0]}: finish it, or leave it out"


if __name__ == "__main__":
    tree.main(check)
