#!/usr/bin/env python3
"""Every source is listed in its room's meson.build: a test that nobody builds proves nothing."""

import tree


def check(root):
    for path in tree.files(root, {".cpp"}):
        room = root / path.relative_to(root).parts[0]
        build_file = room / "meson.build"
        listed = build_file.read_text(encoding="utf-8") if build_file.is_file() else ""
        name = path.relative_to(room)
        if f"'{name}'" not in listed:
            yield path, 1, f"is not built: list '{name}' in {build_file.relative_to(root)}"


if __name__ == "__main__":
    tree.main(check)
