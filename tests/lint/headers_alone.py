#!/usr/bin/env python3
"""Every public header compiles alone, twice in a row, and sees only the rooms it may include.

So does what stands in for a part that a build leaves out (*_absent.cpp): no usual build has it.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess

import tree

FLAGS = [*"-std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror".split(),
         "-fsyntax-only", "-x", "c++"]
PACKAGES = ["fmt", "nlohmann_json", "numa", "libpcap"]
ROOMS_SEEN_BY = {
    "runtime": ["runtime"],
    "ipc": ["ipc", "runtime"],
    "primary": ["primary", "ipc", "runtime"],
    "secondary": ["secondary", "ipc", "runtime"],
}
ERROR = re.compile(r"(.*?):(\d+):\d+: (?:fatal )?error: (.*)")


def package_flags():
    try:
        command = ["pkg-config", "--cflags", *PACKAGES]
        output = subprocess.run(command, capture_output=True, text=True).stdout
        return [flag.replace("-I", "-isystem") for flag in output.split()]
    except FileNotFoundError as error:
        raise tree.Missing("pkg-config") from error


def compile_header(compiler, flags, root, header):
    room = header.relative_to(root).parts[0]
    text = f"#include <{header.relative_to(root / room / 'include')}>\n" * 2
    return compile_text(compiler, flags, root, header, text)


def compile_source(compiler, flags, root, source):
    room = source.relative_to(root).parts[0]
    inner = [f"-I{folder}" for folder in (root / room / "src", root / room / "drivers")]
    return compile_text(compiler, [*inner, *flags], root, source, f'#include "{source}"\n')


def compile_text(compiler, flags, root, header, text):
    room = header.relative_to(root).parts[0]
    own = [f"-I{root / seen / 'include'}" for seen in ROOMS_SEEN_BY[room]]
    run = subprocess.run(
        [compiler, *FLAGS, *own, *flags, "-"],
        input=text, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"},
    )
    if run.returncode == 0:
        return None
    for text in run.stderr.splitlines():
        if (error := ERROR.match(text)) and str(root) in error[1]:
            return error[1], int(error[2]), error[3]
    first = next((text for text in run.stderr.splitlines() if "error" in text), "does not compile")
    return header, 1, first


def check(root):
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise tree.Missing(f"the compiler {compiler}")
    flags = package_flags()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(compile_header, compiler, flags, root, header)
            for header in tree.public_headers(root)
        ]
        jobs += [
            pool.submit(compile_source, compiler, flags, root, source)
            for room in ROOMS_SEEN_BY
            for source in sorted((root / room).rglob("*_absent.cpp"))
        ]
        yield from filter(None, (job.result() for job in jobs))


if __name__ == "__main__":
    tree.main(check)
