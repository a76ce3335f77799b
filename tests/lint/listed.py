#!/usr/bin/env python3
"""Every source is listed in its room's meson.build: a test that nobody builds proves nothing."""

import tree


def nearest_build_file(root, path):
    for folder in path.parents:
        if (folder / "meson.build").is_file() or folder.parent == root:
            return folder / "meson.build"


def check(root):
    for path in tree.files(root, {".cpp"}):
        build_file = nearest_build_file(root, path)
        listed = build_file.read_text(encoding="utf-8") if build_file.is_file() else ""
        name = path.relative_to(build_file.parent)
        if f"'{name}'" not in listed:
            yield path, 1, f"is not built: list '{name}' in {build_file.relative_to(root)}"


if __name__ == "__main__":
    tree.main(check)
