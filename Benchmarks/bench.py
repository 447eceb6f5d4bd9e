"""Measures figures and their references alternately in one run, and writes their ratios to .fieldseal/bench.json.

    bench.py [FIGURE…]      measures all figures, or those whose names begin with an argument
"""

import datetime
import json
import os
import pathlib
import platform
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Benchmarks"), *[str(ROOT / "Tests" / name) for name in ("Service/servers", "Service/support", "Reader", "Support")]]

OUTPUT = ROOT / ".fieldseal" / "bench.json"


def paired(subject, reference, runs=3):
    """Measures both alternately. Returns the medians: (subject, reference)."""
    sides = [], []
    for number in range(runs + 1):
        for side, measure in zip(sides, (subject, reference)):
            value = measure()
            # The first measurement of each side is only a warm-up.
            if number:
                side.append(value)
    return tuple(map(statistics.median, sides))


def record(figure, ratio, goal, **detail):
    """Prints a figure, and stores it beside the figures of earlier runs. A goal is a text such as "<= 1.3" or ">= 0.5"."""
    known = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else []
    sign, bound = goal.split()
    detail["measuredOn"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    detail["machine"] = f"{os.cpu_count()} cores, {platform.platform()}"
    entry = {
        "figure": figure, "ratio": round(ratio, 4), "goal": float(bound), "better": "lower" if sign == "<=" else "higher",
        "detail": detail,
    }
    known = sorted([e for e in known if e["figure"] != figure] + [entry], key=lambda e: e["figure"])
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(known, indent=2) + "\n")
    shown = ", ".join(f"{key} {value}" for key, value in detail.items() if key not in ("measuredOn", "machine"))
    print(f"{figure:28} {ratio:8.3f}  goal {goal:8}  {shown}", flush=True)


def main(wanted):
    import api
    import cell
    import events
    import failover
    import keychange
    import organizations
    import pages
    import router
    import scale
    import sleeping
    import soap_figures
    import verify

    groups = (cell, api, keychange, verify, events, pages, organizations, router, soap_figures, scale, sleeping, failover)
    figures = [name for group in groups for name in group.FIGURES]
    for word in wanted:
        if not any(name.startswith(word) for name in figures):
            sys.exit(f"No figure is called {word}. These are: {', '.join(figures)}.")
    for group in groups:
        names = [name for name in group.FIGURES if not wanted or any(name.startswith(w) for w in wanted)]
        if names:
            group.run(names)


if __name__ == "__main__":
    # The imported modules import this file as `bench`, so it must not be loaded twice.
    sys.modules["bench"] = sys.modules["__main__"]
    main(sys.argv[1:])
