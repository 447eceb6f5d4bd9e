"""cell/seal-open: the time for sealing and opening one cell, compared with the same calls of libcrypto in C."""

import subprocess

from bench import ROOT, paired, record

FIGURES = ["cell/seal-open"]
ROUNDS = "1000000"


def nanoseconds(program):
    return float(subprocess.run([ROOT / program, ROUNDS], capture_output=True, text=True, check=True).stdout)


def run(_names):
    ours, reference = paired(
        lambda: nanoseconds(".build/release/CellBenchmark"), lambda: nanoseconds(".build/bench/reference"), runs=5)
    record("cell/seal-open", ours / reference, "<= 1.3", nanoseconds=round(ours), reference=round(reference))
