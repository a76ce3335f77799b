#!/usr/bin/env python3
"""The top level holds the rooms and the few files that must lie there, and nothing else."""

import subprocess

import tree

ALLOWED = {
    *tree.ROOMS,
    "docs",
    "meson.build",
    "meson_options.txt",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    ".ci",
    ".clang-format",
    ".clang-tidy",
    ".editorconfig",
    ".gitignore",
}


def top_level(root):
    """The names git knows or would add; without git, all but build folders."""
    try:
        list_files = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        run = subprocess.run(["git", "-C", root, *list_files], capture_output=True, text=True)
        if (root / ".git").exists() and run.returncode == 0:
            names = {name.split("/")[0] for name in run.stdout.split("\0") if name}
            return {name for name in names if (root / name).exists()}
    except FileNotFoundError:
        pass
    names = {path.name for path in root.iterdir()}
    return {name for name in names if name != ".git" and not name.startswith("build")}


def check(root):
    for name in sorted(top_level(root) - ALLOWED):
        yield root / name, 1, "does not belong at the top level (docs/architecture.md)"


if __name__ == "__main__":
    tree.main(check)
