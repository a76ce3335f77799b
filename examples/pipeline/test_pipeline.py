#!/usr/bin/env python3
"""Runs the quickstart and the pipeline on many captures, kills their processes, compares the packets.

Usage: test_pipeline.py [--parts | PART]

Needs COHORT_BUILD_DIR. Runs all parts, or the one that is named; --parts lists them. Prints one line a check.
Exits 1 if any failed, or else 77 if something was skipped; then the last line says what is missing.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUPPORT = ROOT / "tests/support"
sys.path[:0] = [str(SUPPORT), str(HERE)]

import captures
import sample_captures

BUILD = pathlib.Path(os.environ.get("COHORT_BUILD_DIR", "build")).resolve()
PIPELINE = BUILD / "examples/pipeline"
VETH = ROOT / "examples/captures/veth.pcap"
SEED = int(os.environ.get("COHORT_TEST_SEED", "1"))
PATIENCE = 120

failures = []
skips = []


def check(holds, what, detail=""):
    print(("ok     " if holds else "FAILED ") + what, flush=True)
    if not holds:
        failures.append(what)
        print(detail, flush=True)


def skip(reason):
    print("skipped " + reason, flush=True)
    skips.append(reason)


def run(*command, **options):
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True, text=True, timeout=PATIENCE, check=False, **options,
    )


def compare(source, output, loops, *flags):
    return run(sys.executable, SUPPORT / "compare_captures.py", source, output, "--loops", loops, *flags)


def check_quickstart(source, output, loops, *flags, ordered=False):
    shown = run(ROOT / "examples/quickstart.sh", "--pcap", source, "--out", output, "--loops", loops, *flags)
    compared = compare(source, output, loops, *(["--ordered"] if ordered else []))
    what = f"{source.name} x {loops} {' '.join(flags)}"
    check(shown.returncode == 0 and compared.returncode == 0, what,
          shown.stdout + shown.stderr + compared.stdout + compared.stderr)
    return shown.stdout


def check_captures(folder):
    for name, blob in sample_captures.sound(SEED):
        source = folder / name
        source.write_bytes(blob)
        check_quickstart(source, folder / "out.pcap", 2, "--no-kill", ordered=True)
    check_quickstart(VETH, folder / "out.pcap", 4, "--no-kill", "--workers", "3", ordered=True)


def check_refusals(folder):
    for name, blob in sample_captures.unsound():
        source = folder / name
        source.write_bytes(blob)
        shown = run(ROOT / "examples/quickstart.sh", "--pcap", source, "--no-kill")
        said = shown.stderr.splitlines()
        check(shown.returncode == 2 and len(said) == 1, f"{name} is refused in one line", shown)


def check_options(_):
    wrong = [["--workers", "0"], ["--workers", "17"], ["--loops", "0"], ["--huge", "3M"], ["--nonsense"], ["--pcap"]]
    for words in wrong:
        shown = run(ROOT / "examples/quickstart.sh", *words)
        said = shown.stderr.splitlines()
        check(shown.returncode == 2 and len(said) == 1, f"{' '.join(words)} is refused in one line", shown)


def lend_hugepages(count):
    """Adds so many 2 MiB pages; returns how many there were, or None."""
    pool = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    try:
        before = int(pool.read_text())
        pool.write_text(str(before + count))
        if int(pool.read_text()) >= before + count:
            return before
        pool.write_text(str(before))
    except OSError:
        pass
    return None


def page_bytes_of_a_run(*words):
    shown = run(ROOT / "examples/quickstart.sh", "--json", "--no-kill", "--loops", "1", *words)
    return json.loads(shown.stdout)["memory"][0]["page_bytes"] if shown.returncode == 0 else shown


def check_pages(_):
    """Hugepages when there are enough, or when they are asked for; and none when not."""
    shown = page_bytes_of_a_run("--huge", "none")
    check(shown == 4096, "--huge none takes 4 KiB pages", shown)
    before = lend_hugepages(160)
    if before is None:
        skip("pages of 2 MiB need root, and 320 MiB of memory that is not in pieces")
        return
    try:
        for words in [[], ["--huge", "2M"]]:
            shown = page_bytes_of_a_run(*words)
            check(shown == 2 << 20, f"pages of 2 MiB are used ({' '.join(words) or 'auto'})", shown)
    finally:
        pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages").write_text(str(before))


def check_counts(_):
    """What the report says of packets is what another reader of the file finds."""
    shown = run(ROOT / "examples/quickstart.sh", "--json", "--no-kill", "--workers", "1", "--loops", "1")
    report = json.loads(shown.stdout)
    link, packets = captures.read(VETH)
    found = [captures.ip_header(link, packet.data) for packet in packets]
    tagged = sum(packet.data[12:14] in (b"\x81\x00", b"\x88\xa8") for packet in packets)
    lowered = sum(captures.forwarded(link, packet.data) != packet.data for packet in packets)
    worker = report["workers"][0]
    said = [report["packets_in"], report["packets_out"], worker["packets"], worker["ipv4"], worker["ipv6"],
            worker["not_ip"], worker["vlan"], worker["ttl_lowered"]]
    versions = [header and header[0] for header in found]
    count = len(packets)
    expected = [count, count, count, versions.count(4), versions.count(6), versions.count(None), tagged, lowered]
    check(said == expected, "the counts of the report are those of the file", f"{said} {expected}")
    flows = {ends_of(captures.flow(link, packet.data)) for packet, header in zip(packets, found) if header}
    check(worker["flows"] == len(flows), "so are the flows", f"{worker['flows']} {len(flows)}")


def ends_of(flow):
    """The same for both directions of a flow."""
    version, addresses, protocol, ports = flow
    half, middle = len(addresses) // 2, len(ports) // 2
    ends = [addresses[:half] + ports[:middle], addresses[half:] + ports[middle:]]
    return version, protocol, frozenset(ends), len(ports)


def check_kill_of_a_worker(folder):
    for workers in ["1", "2", "4"]:
        for loops in [60, 300]:  # on a machine that has no time for it, a short run may say that it killed nobody
            shown = check_quickstart(VETH, folder / "out.pcap", loops, "--workers", workers)
            if "killed nobody: " not in shown:
                break
        check(f"killed worker.{int(workers) - 1} " in shown, f"one of {workers} workers was killed", shown)


def check_json(folder):
    """Standard output is the report; and --out alone means each packet once."""
    output = folder / "out.pcap"
    shown = run(ROOT / "examples/quickstart.sh", "--pcap", VETH, "--out", output, "--json")
    compared = compare(VETH, output, 1)
    check(shown.returncode == 0 and compared.returncode == 0, "--out without --loops has each packet once",
          shown.stdout + shown.stderr + compared.stdout)
    try:
        report = json.loads(shown.stdout)
    except json.JSONDecodeError as wrong:
        check(False, "all of standard output is JSON", f"{wrong}: {shown.stdout}")
        return
    check(report["loops"] == 1 and report["packets_out"] > 0, "the report says how often it was read", report)
    check("started reader" in shown.stderr, "the text lines go to standard error", shown.stderr)
    killed = "killed worker.1" in shown.stderr
    check(killed, "a worker is killed in a short run, too", shown.stderr)
    said = killed == bool(report["deaths"]) and killed != ("killed nobody" in shown.stderr)
    check(said, "a kill, or that there was none, is in what it prints", shown.stdout + shown.stderr)


def check_as_nobody(folder):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        skip("an unprivileged run needs root to begin with, and setpriv")
        return
    with tempfile.TemporaryDirectory() as place:
        # The checkout may be closed to others.
        there = pathlib.Path(place)
        there.chmod(0o755)
        for program in ["primary/cohortd", "examples/pipeline"]:
            (there / program).parent.mkdir(exist_ok=True)
            shutil.copy(BUILD / program, there / program)
        shutil.copy(ROOT / "examples/quickstart.sh", there)
        shutil.copy(VETH, there)
        shown = run(
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", there / "quickstart.sh",
            "--pcap", there / "veth.pcap", "--loops", "20", "--no-kill",
            cwd="/", env={"PATH": os.environ["PATH"], "COHORT_BUILD_DIR": place},
        )
        check(shown.returncode == 0, "it runs without any right", shown.stdout + shown.stderr)


class Domain:
    """A domain with the parts of the pipeline as children of this process."""

    def __init__(self, folder, source, output, loops):
        self.environment = {**os.environ, "COHORT_RUNTIME_DIR": str(folder / "run")}
        self.parts = {}
        self.start_primary()
        self.call("setup", "--pcap", source, "--out", output, "--loops", loops).check_returncode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for part in [*self.parts.values(), self.primary]:
            part.kill()
            part.wait()

    def start_primary(self):
        """Returns the line that says that it is ready."""
        self.primary = subprocess.Popen(
            [BUILD / "primary/cohortd", "--domain", "test", "--memory", "64M", "--huge", "none"],
            env=self.environment, stdout=subprocess.PIPE, text=True,
        )
        return self.primary.stdout.readline()

    def call(self, *words):
        return run(PIPELINE, words[0], "--domain", "test", *words[1:], env=self.environment)

    def start(self, name, fault=""):
        words = [name.split(".")[0], "--domain", "test", "--name", name]
        if "." in name:
            words += ["--index", name.split(".")[1]]
        environment = {**self.environment, **({"COHORT_FAULT": fault} if fault else {})}
        self.parts[name] = subprocess.Popen([PIPELINE, *words], env=environment, stderr=subprocess.PIPE)

    def start_others(self, than):
        for name in ["writer", "worker.0", "worker.1", "reader"]:
            if name != than:
                self.start(name)

    def finish(self):
        """Ends when the writer does; returns the report."""
        self.parts["writer"].wait(PATIENCE)
        return json.loads(self.call("report", "--json").stdout)


def check_run(domain, what, output, loops):
    report = domain.finish()
    compared = compare(VETH, output, loops)
    sound = report["audit"]["clean"] and report["packets_in"] == report["packets_out"]
    check(sound and compared.returncode == 0, what, json.dumps(report, indent=1) + compared.stdout)


def check_death_at_the_seams(folder):
    """Killed at each step of a burst's way through a port, at the first burst and in the middle."""
    seams = [("reader", "port.rx_listed"), ("reader", "port.rx_marked"), ("reader", "port.committed"),
             ("writer", "port.tx_listed"), ("writer", "port.tx_given"), ("writer", "port.committed")]
    for name, point in seams:
        for passes in [1, 30]:
            output = folder / "out.pcap"
            with Domain(folder, VETH, output, 2) as domain:
                domain.start(name, fault=f"{point}:{passes}")
                domain.start_others(name)
                died = domain.parts[name].wait(PATIENCE) == -signal.SIGKILL
                if not died:
                    skip(f"{name} at {point} needs a build with -Dfault_points=true")
                    return
                domain.start(name)
                check_run(domain, f"{name} killed at {point}, pass {passes}", output, 2)


def storm(folder, source, loops):
    """One run; returns how many were killed while they held packets."""
    output = folder / "out.pcap"
    with Domain(folder, VETH, output, loops) as domain:
        domain.start_others("nobody")
        kills = 0
        for _ in range(30):
            name = source.choice(["reader", "writer", "worker.0", "worker.1"])
            kills += domain.call("await", "--member", name, "--kill").returncode == 0
            if domain.parts["writer"].poll() == 0:
                break
            domain.parts[name].kill()
            domain.parts[name].wait()
            domain.start(name)
        check_run(domain, f"{kills} kills of anybody, packets in hand", output, loops)
    return kills


def check_storm(folder):
    """Any of them killed, again and again, while the region shows it holding packets."""
    source = random.Random(SEED)
    # On a busy machine a short run is over before whoever is to kill has started.
    for loops in [60, 240, 960]:
        kills = storm(folder, source, loops)
        if kills >= 3:
            break
    check(kills >= 3, "anybody is killed at least 3 times while packets flow", f"{kills} kills")


def death_of_the_primary(folder, loops):
    """One run; returns whether the pipeline still ran when the next primary came."""
    output = folder / "out.pcap"
    with Domain(folder, VETH, output, loops) as domain:
        domain.start_others("nobody")
        domain.call("await", "--member", "writer", "--after-percent", "2").check_returncode()
        domain.primary.kill()
        domain.primary.wait()
        domain.call("await", "--member", "worker.1", "--after-percent", "4", "--kill")
        domain.parts["worker.1"].wait()
        ready = domain.start_primary()
        adopted = "adopted" in ready
        if not adopted and domain.parts["writer"].poll() is not None:
            return False
        domain.start("worker.1")
        check(adopted, "a new primary adopts the pipeline", ready)
        check_run(domain, "the primary killed, then a worker", output, loops)
    return True


def check_death_of_the_primary(folder):
    """Nobody waits for it; the next one takes over while packets flow, and a worker dies as well."""
    # On a busy machine a short run is over before the next primary has started.
    for loops in [240, 960, 3840]:
        if death_of_the_primary(folder, loops):
            return
    check(False, "the pipeline still runs when the next primary comes", f"{loops} loops")


PARTS = {
    "refusals": check_refusals,
    "options": check_options,
    "pages": check_pages,
    "counts": check_counts,
    "captures": check_captures,
    "json": check_json,
    "kill_of_a_worker": check_kill_of_a_worker,
    "as_nobody": check_as_nobody,
    "death_at_the_seams": check_death_at_the_seams,
    "death_of_the_primary": check_death_of_the_primary,
    "storm": check_storm,
}


def main():
    wanted = sys.argv[1:] or list(PARTS)
    if wanted == ["--parts"]:
        print("\n".join(PARTS))
        return
    print(f"COHORT_TEST_SEED={SEED}")
    with tempfile.TemporaryDirectory(prefix="cohort-test.") as place:
        for part in wanted:
            PARTS[part](pathlib.Path(place))
    print(f"{len(failures)} checks failed")
    if skips and not failures:
        print("; ".join(skips))
        sys.exit(77)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
