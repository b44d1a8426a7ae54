"""Predicted memory of training steps beside the published: the table of docs/cost.md, and how well it fits.

    python -m tests.perf.memory_estimate

Takes some three minutes on one core. The correction of the estimate is fitted on every second row and tested on the
others, both ways.
"""

from __future__ import annotations

import statistics

import densebench.registration  # noqa: F401
from densebench.cost.training_memory.estimate import Correction, MemoryEstimate
from densebench.cost.training_memory.published import PublishedStep, corrected_mb, fit, published_steps


def main() -> None:
    """Print the table, the rows left out, and the errors."""
    steps, left_out = published_steps()
    estimates = [step.predict() for step in steps]
    print("| method | backbone | batch | precision | predicted, GiB | published | ratio | half |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for index, (step, found) in enumerate(zip(steps, estimates, strict=True)):
        print(table_row(step, found, "fitted" if index % 2 == 0 else "tested"))
    print("\nLeft out:")
    for row, reason in left_out:
        print(f"- {row.method}, {row.family}-{row.variant}, {row.dataset}: {reason}")
    rows = list(zip(steps, estimates, strict=True))
    for name, fitted, tested in (("even", rows[0::2], rows[1::2]), ("odd", rows[1::2], rows[0::2])):
        correction = fit([step for step, _ in fitted], [found for _, found in fitted])
        print(f"\nFitted on the {name} rows: {correction}\nOn the others: {errors(tested, correction)}")
    print(f"Without any correction, on all: {errors(rows, Correction(0.0, 0.0))}")


def table_row(step: PublishedStep, found: MemoryEstimate, half: str) -> str:
    """One line of Markdown."""
    width, height = step.step.size
    batch = f"{step.step.images} x {width}x{height}"
    precision = "mixed" if step.step.amp else "fp32"
    what = f"{step.row.method}, {step.row.dataset}, {step.row.schedule}"
    ratio = found.peak_mb / step.published_mb
    backbone = f"{step.row.family}-{step.row.variant}{', caffe' if 'caffe' in (step.row.notes or '') else ''}"
    return (
        f"| {what} | {backbone} | {batch} | {precision} | {found.peak_mb / 1024:.1f} | "
        f"{step.row.printed['train_mem_gb']} | {ratio:.2f} | {half} |"
    )


def errors(rows: list[tuple[PublishedStep, MemoryEstimate]], correction: Correction) -> str:
    """Median, 90th percentile and maximum of the relative errors."""
    found = sorted(abs(corrected_mb(step, one, correction) / step.published_mb - 1) for step, one in rows)
    tenth = found[int(0.9 * len(found))]
    return f"median {statistics.median(found):.1%}, 90 % under {tenth:.1%}, largest {found[-1]:.1%}, {len(found)} rows"


if __name__ == "__main__":
    main()
