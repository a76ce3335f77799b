#!/usr/bin/env python3
"""Each rule passes a sound tree and fails each tree with one defect; else it is no rule.

Usage: self_test.py RULE. Prints as the rules do.
"""

import importlib
import pathlib
import shutil
import sys
import tempfile

import tree

HERE = pathlib.Path(__file__).resolve().parent

MUTATION = """
import types
MUTATIONS = [types.SimpleNamespace(rule="x", file="runtime/src/ring/%s", before="only", after="")]
"""

SOUND = {
    "meson.build": "",
    "runtime/meson.build": "'src/ring/ring.cpp' 'drivers/null/null.cpp'",
    "runtime/include/cohort/base/bits.hpp": "#pragma once\n\nint bits();\n",
    "runtime/include/cohort/ring/ring.hpp": (
        "#pragma once\n\n#include <cohort/base/bits.hpp>\n\n// volatile is only a word here\n"
    ),
    "runtime/src/ring/ring.cpp": "#include <cohort/ring/ring.hpp>\n",
    "runtime/src/ring/claim.hpp": "#pragma once  // only\n",
    "runtime/drivers/null/null.cpp": "#include <cohort/ring/ring.hpp>\n",
    "ipc/include/cohort/ipc/action.hpp": "#pragma once\n\n#include <cohort/ring/ring.hpp>\n",
    "primary/include/cohort/primary/start.hpp": (
        "#pragma once\n\n#include <cohort/ipc/action.hpp>\n"
    ),
    "secondary/include/cohort/secondary/attach.hpp": (
        "#pragma once\n\n#include <cohort/ipc/action.hpp>\n"
    ),
    "examples/meson.build": "'hello/hello.cpp'",
    "examples/hello/hello.cpp": "#include <cohort/primary/start.hpp>\n",
    "tests/meson.build": "'unit/claim_test.cpp' 'process/attach_test.cpp'",
    "tests/unit/claim_test.cpp": '#include "runtime/src/ring/claim.hpp"\n',
    "tests/mutation/mutations.py": MUTATION % "claim.hpp",
    "tests/process/attach_test.cpp": "#include <cohort/secondary/attach.hpp>\n",
}

# Each: the rule, then what is added to the sound tree.
DEFECTS = [
    ("layers", {"runtime/include/cohort/base/up.hpp": "#include <cohort/ring/ring.hpp>\n"}),
    ("layers", {"runtime/include/cohort/base/up.hpp": '#include "../ring/ring.hpp"\n'}),
    ("layers", {"runtime/include/cohort/misc/new.hpp": "#pragma once\n"}),
    ("layers", {"runtime/include/cohort/stray.hpp": "#pragma once\n"}),
    ("layers", {"runtime/src/ring/up.cpp": "#include <cohort/ipc/action.hpp>\n"}),
    ("layers", {"runtime/src/ring/gone.cpp": "#include <cohort/ring/gone.hpp>\n"}),
    ("layers", {"ipc/src/up.cpp": "#include <cohort/primary/start.hpp>\n"}),
    ("layers", {"primary/src/x.cpp": "#include <cohort/secondary/attach.hpp>\n"}),
    ("layers", {"secondary/src/x.cpp": "#include <cohort/primary/start.hpp>\n"}),
    ("layers", {"secondary/src/x.cpp": '#include "tests/unit/claim_test.cpp"\n'}),
    ("layers", {"examples/x/x.cpp": '#include "runtime/src/ring/claim.hpp"\n'}),
    ("layers", {"tests/process/x.cpp": '#include "runtime/src/ring/claim.hpp"\n'}),
    ("headers_alone", {"runtime/include/cohort/base/x.hpp": "#pragma once\nstd::string x();\n"}),
    ("headers_alone", {"runtime/include/cohort/base/x.hpp": "struct defined_twice {};\n"}),
    ("headers_alone", {"runtime/include/cohort/base/x.hpp": (
        "#pragma once\ninline char narrow(int x) { return x; }\n")}),
    ("headers_alone", {"primary/include/cohort/primary/x.hpp": (
        "#pragma once\n#include <cohort/secondary/attach.hpp>\n")}),
    ("headers_alone", {"runtime/drivers/x/x_absent.cpp": "#include \"gone.hpp\"\n"}),
    ("file_length", {"runtime/src/ring/long.cpp": "int x;\n" * 401}),
    ("format", {"runtime/src/ring/ugly.cpp": "int   x ;\n"}),
    ("words", {"runtime/src/ring/x.cpp": "volatile int x;\n"}),
    ("words", {"runtime/src/ring/x.cpp": 'auto s = "\\"/*"; volatile int x;  // */\n'}),
    ("words", {"runtime/src/ring/x.cpp": "// TO" "DO: more\n"}),
    ("words", {"docs/x.md": "FIX" "ME\n"}),
    ("listed", {"tests/unit/forgotten_test.cpp": ""}),
    ("listed", {"runtime/src/ring/forgotten.cpp": ""}),
    ("listed", {"ipc/src/forgotten.cpp": ""}),
    ("mutations_fit", {"tests/mutation/mutations.py": MUTATION % "ring.cpp"}),
    ("mutations_fit", {"tests/mutation/mutations.py": MUTATION % "gone.cpp"}),
    ("house", {"notes.txt": ""}),
    ("house", {"utils/x.hpp": ""}),
]


def write(root, contents):
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def findings(rule, *contents):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        shutil.copy(HERE.parents[1] / ".clang-format", root)
        for each in contents:
            write(root, each)
        return list(importlib.import_module(rule).check(root))


def check(rule):
    defects = [added for name, added in DEFECTS if name == rule]
    if not defects:
        yield "has no defective tree here"
    for path, line, sentence in findings(rule, SOUND):
        yield f"complains about a sound tree: {path}:{line}: {sentence}"
    for added in defects:
        if not findings(rule, SOUND, added):
            yield f"misses the defect in {', '.join(added)}"


if __name__ == "__main__":
    rule = sys.argv[1]
    try:
        sentences = list(check(rule))
    except tree.Missing as missing:
        print(f"SKIP self_test of {rule}: {missing}")
        sys.exit(77)
    for sentence in sentences:
        print(f"FAIL self_test of {rule}: {sentence}")
    if not sentences:
        print(f"PASS self_test of {rule}")
    sys.exit(1 if sentences else 0)
