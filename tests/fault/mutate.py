"""Writes a copy of a source in which statements have changed places, two and two.

Usage: mutate.py SOURCE COPY STAMP [STATEMENT STATEMENT]...

Each statement must occur once: a mutation that no longer fits fails the build, so no test can pass
because nothing was broken. The empty STAMP tells the build that the copy is there.
"""

import pathlib
import sys


def main():
    source, copy, stamp, *statements = sys.argv[1:]
    text = pathlib.Path(source).read_text(encoding="utf-8")
    for first, second in zip(statements[::2], statements[1::2], strict=True):
        for statement in (first, second):
            if text.count(statement) != 1:
                sys.exit(f"{source} has {text.count(statement)} times \"{statement}\", not once")
        text = text.replace(first, "\0").replace(second, first).replace("\0", second)
    copy = pathlib.Path(copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    pathlib.Path(stamp).touch()


main()
