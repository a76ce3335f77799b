"""What the lint rules share: the files of the source tree, and how a rule reports.

A rule is a function check(root) that yields (file, line, sentence). Run as a program, a rule prints
`PASS name` or one `FAIL name: file:line: sentence` for each finding, and exits 0 or 1. A rule that
cannot run raises Missing, prints `SKIP name: reason` and exits 77.
"""

import pathlib
import sys

ROOMS = ["runtime", "ipc", "primary", "secondary", "tests", "examples"]
PRODUCT_ROOMS = ROOMS[:4]


class Missing(Exception):
    """What the rule needs and does not find."""


def files(root, suffixes, rooms=ROOMS):
    for room in rooms:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def cpp_files(root, rooms=ROOMS):
    return files(root, {".hpp", ".cpp"}, rooms)


def public_headers(root):
    for room in PRODUCT_ROOMS:
        yield from sorted((root / room / "include").rglob("*.hpp"))


def lines(path):
    return enumerate(path.read_text(encoding="utf-8").splitlines(), 1)


def main(check):
    """Runs a rule over the tree named on the command line, else over this checkout."""
    name = pathlib.Path(sys.argv[0]).stem
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    root = root.resolve()
    try:
        findings = list(check(root))
    except Missing as missing:
        print(f"SKIP {name}: {missing}")
        sys.exit(77)
    for path, line, sentence in findings:
        print(f"FAIL {name}: {pathlib.Path(path).relative_to(root)}:{line}: {sentence}")
    if not findings:
        print(f"PASS {name}")
    sys.exit(1 if findings else 0)
