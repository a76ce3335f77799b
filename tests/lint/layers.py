#!/usr/bin/env python3
"""An include may only point down: between rooms, and between the layers of runtime."""

import re

import tree

LAYERS = "base sync memory member ring pool packet port recovery domain".split()
DRIVER_LAYER = "port"
MAY_INCLUDE = {
    "runtime": {"runtime"},
    "ipc": {"runtime", "ipc"},
    "primary": {"runtime", "ipc", "primary"},
    "secondary": {"runtime", "ipc", "secondary"},
    "examples": {"runtime", "ipc", "primary", "secondary", "examples"},
    "tests": {"runtime", "ipc", "primary", "secondary", "tests"},
}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^">]+)[">]')


def layer_of(path):
    """The layer of a file of runtime, given its path from the root; None if it has none."""
    parts = path.parts
    if parts[1] == "drivers":
        return DRIVER_LAYER
    folder = parts[3] if parts[1:3] == ("include", "cohort") and len(parts) > 4 else parts[2]
    return folder if folder in LAYERS else None


def target_of(root, source, quote, name):
    """The file that `name` means, as a path from the root; None if it is not of this project."""
    places = [root / room / "include" for room in tree.PRODUCT_ROOMS]
    places += [root / "runtime/src", root / "runtime/drivers", root / "ipc/src", root / "secondary/src/tool"]
    places += [root / "tests", root]
    if quote == '"':
        places.insert(0, source.parent)
    for place in places:
        found = (place / name).resolve()
        if found.is_file() and found.is_relative_to(root):
            return found.relative_to(root)
    return None


def is_internal(path):
    """Not for other rooms: outside include/, or in a folder detail/."""
    return path.parts[0] in tree.PRODUCT_ROOMS and (
        path.parts[1] != "include" or "detail" in path.parts
    )


def objection(source, target):
    """Why `source` may not include `target`, or None. Both are paths from the root."""
    room, other = source.parts[0], target.parts[0]
    if other not in MAY_INCLUDE[room]:
        return f"{room} may not include {other} ({target})"
    if room != other and is_internal(target) and source.parts[:2] != ("tests", "unit"):
        return f"{target} is internal to {other}"
    if room == other == "runtime":
        here, there = layer_of(source), layer_of(target)
        if here and there and LAYERS.index(there) > LAYERS.index(here):
            return f"layer {here} may not include the higher layer {there} ({target})"
    return None


def check(root):
    for path in tree.cpp_files(root):
        source = path.relative_to(root)
        if source.parts[0] == "runtime" and layer_of(source) is None:
            yield path, 1, "is in no layer; the layers are " + " ".join(LAYERS)
        for number, text in tree.lines(path):
            include = INCLUDE.match(text)
            if not include:
                continue
            target = target_of(root, path, *include.groups())
            if target is None:
                if include[2].startswith("cohort/"):
                    yield path, number, f"there is no {include[2]}"
                continue
            if sentence := objection(source, target):
                yield path, number, sentence


if __name__ == "__main__":
    tree.main(check)
