"""What a data set holds, and what is wrong with it: counts per class, expected sizes, every problem; as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from densebench.data.annotation_check import Finding

_BAR_WIDTH = 24
_TEXT_WIDTH = 110
_SHORT = 32  # entries below this many characters stand beside one another


@dataclass(frozen=True)
class ClassCount:
    """How much of a class a split holds: pixels or objects, and the images that they are in."""

    name: str
    amount: int
    num_images: int


@dataclass(frozen=True)
class SplitReport:
    """One split. `unit` is what the counts of the classes are of, "pixels" or "objects"."""

    split: str
    num_images: int
    expected_images: int | None  # of the official split; None: one's own data
    unit: str
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]

    @property
    def is_refused(self) -> bool:
        """Whether a run would end in an error, or measure what is not so."""
        return any(finding.is_refused for finding in self.findings)

    def text(self, shown: int | None) -> str:
        """The report of the split; `shown` limits the entries that are named of each kind of problem."""
        return "\n".join(
            (
                f"{self.split}: {self.num_images} images{self._expected()}",
                *histogram(self.classes, self.unit),
                *(line for finding in self.findings for line in finding_lines(finding, shown)),
            )
        )

    def _expected(self) -> str:
        if self.expected_images is None:
            return ""
        if self.num_images == self.expected_images:
            return ", as the official split has"
        return f", but the official split has {self.expected_images}: results do not compare with published ones"


def absent_classes(reports: Sequence[SplitReport]) -> list[Finding]:
    """Classes that one split holds and the other lacks, which costs accuracy without an error."""
    findings = []
    for report in reports:
        others = {count.name for other in reports if other is not report for count in other.classes if count.amount}
        absent = tuple(count.name for count in report.classes if not count.amount and count.name in others)
        if absent:
            findings.append(Finding(f"classes are in the other split but not in {report.split}", absent, False))
    return findings


def histogram(classes: Sequence[ClassCount], unit: str) -> list[str]:
    """One line a class: its share as a bar, in percent and in full, and its images."""
    total = sum(count.amount for count in classes)
    most = max((count.amount for count in classes), default=0)
    if not total:
        return [f"  no {unit} of any class"]
    names = [f"{index} {count.name}" for index, count in enumerate(classes)]
    width = max(map(len, names))
    lines = [f"  {'class':{width}}  {'':{_BAR_WIDTH}}    share  {unit:>14}  images"]
    for name, count in zip(names, classes, strict=True):
        bar = "#" * round(_BAR_WIDTH * count.amount / most)
        share = 100 * count.amount / total
        lines.append(f"  {name:{width}}  {bar:{_BAR_WIDTH}}  {share:6.2f}%  {count.amount:14,}  {count.num_images:6}")
    return lines


def finding_lines(finding: Finding, shown: int | None) -> list[str]:
    """A problem as lines: whether it is refused, how many have it, and which."""
    word = "REFUSED" if finding.is_refused else "note"
    if not finding.entries:
        return [f"  {word}: {finding.problem}".replace("\n", "\n    ")]
    named = [str(entry) for entry in finding.entries[:shown]]
    if all(len(name) < _SHORT for name in named):
        named = textwrap.wrap(", ".join(named), _TEXT_WIDTH)
    rest = 0 if shown is None else max(len(finding.entries) - shown, 0)
    more = [f"    and {rest} more; --all names them"] if rest else []
    listed = [f"    {name}".replace("\n", "\n      ") for name in named]
    return [f"  {word}: {len(finding.entries)} {finding.problem}:", *listed, *more]
