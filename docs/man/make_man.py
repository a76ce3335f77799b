#!/usr/bin/env python3
"""Makes a manual page in section 1 of what a program says with --help, so that it stays true.

Usage: make_man.py PROGRAM NAME VERSION OUTPUT
"""

import re
import subprocess
import sys


def help_of(program, *words):
    run = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True)
    return run.stdout.rstrip().splitlines()


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def sections(lines):
    """(heading, lines) of a help text; the description comes first, under None."""
    found = [(None, [])]
    for line in lines:
        if group := re.fullmatch(r"\[Option Group: (.*)\]", line):
            found.append((group[1], []))
        elif re.fullmatch(r" +Options:", line):
            continue  # of the group before
        elif re.fullmatch(r"\S.*:", line) and not line.startswith("Usage:"):
            found.append((line[:-1], []))
        else:
            found[-1][1].append(line)
    return found


def entries(lines):
    """(what, its help) of the lines of a section; continued lines belong to the one before."""
    found = []
    for line in lines:
        match = re.fullmatch(r" {1,4}(\S.*?)(?: {2,}(\S.*))?", line)
        if match:
            found.append([match[1], match[2] or ""])
        elif found and line.strip():
            found[-1][1] = (found[-1][1] + " " + line.strip()).strip()
    return found


def write_entries(lines, out):
    for what, text in entries(lines):
        out += [".TP", f"\\fB{escaped(what)}\\fR", escaped(text)]


def write_command(program, name, command, out):
    parts = sections(help_of(program, command))
    about = [line for line in parts[0][1] if line and not line.startswith("Usage:")]
    out += [f".SS {name} {escaped(command)}", escaped(" ".join(about))]
    for heading, lines in parts[1:]:
        own = [line for line in lines if "-h,--help" not in line]
        if heading != "Subcommands" and entries(own):
            write_entries(own, out)


def page(program, name, version):
    parts = sections(help_of(program))
    about = [line for line in parts[0][1] if line and not line.startswith("Usage:")]
    usage = next(line for line in parts[0][1] if line.startswith("Usage:"))
    words = " ".join(usage.split()[2:])
    out = [
        f'.TH {name.upper()} 1 "" "cohort {version}"',
        ".SH NAME",
        f"{name} \\- {escaped(' '.join(about).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {name}",
        escaped(words),
    ]
    commands = []
    for heading, lines in parts[1:]:
        if heading == "Subcommands":
            commands = [what for what, _ in entries(lines)]
            continue
        out.append(f".SH {escaped(heading.upper())}")
        write_entries(lines, out)
    if commands:
        out.append(".SH COMMANDS")
        for command in commands:
            write_command(program, name, command, out)
    out += [
        ".SH EXIT STATUS",
        "0 when all went well; the other codes are listed in",
        ".BR cohort (7).",
        ".SH SEE ALSO",
        ".BR cohort (1),",
        ".BR cohortd (1),",
        ".BR cohort (7)",
    ]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    program, name, version, output = sys.argv[1:]
    with open(output, "w", encoding="utf-8") as file:
        file.write(page(program, name, version))
