"""What a check found, and how a person or a program reads it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_INSTALLATION = "This installation"
_LINE = 110


class Severity(StrEnum):
    """How bad it is: a problem stops users or loses something, a warning will or may."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_MARKS = {Severity.OK: ("✓", "green"), Severity.WARNING: ("!", "yellow"), Severity.PROBLEM: ("✗", "bold red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy` is empty when there is nothing to do; `details` never hold a secret."""

    check: str
    severity: Severity
    message: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever JSON can hold


def ok(check: str, message: str, **details: Any) -> Finding:
    """Return a finding with nothing to do."""
    return Finding(check, Severity.OK, message, details=details)


def warning(check: str, message: str, remedy: str, **details: Any) -> Finding:
    """Return a finding that needs attention, but stops nobody now."""
    return Finding(check, Severity.WARNING, message, remedy, details)


def problem(check: str, message: str, remedy: str, **details: Any) -> Finding:
    """Return a finding that stops users."""
    return Finding(check, Severity.PROBLEM, message, remedy, details)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one examination, in the order of the checks."""

    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem; warnings are allowed."""
        return self.count(Severity.PROBLEM) == 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as `landbridge doctor --json` prints it."""
        return {
            "healthy": self.is_healthy,
            "problems": self.count(Severity.PROBLEM),
            "warnings": self.count(Severity.WARNING),
            "findings": [
                {
                    "check": finding.check,
                    "severity": finding.severity.value,
                    "message": finding.message,
                    "remedy": finding.remedy,
                    "details": dict(finding.details),
                }
                for finding in self.findings
            ],
        }


def render(report: Report, console: Console) -> None:
    """Print the report for a person, what belongs together under one heading."""
    width = min(console.width, _LINE)
    for heading, findings in groupby(report.findings, key=_heading):
        console.print(Text(f"\n{heading}", style="bold"))
        lines = Table.grid(padding=(0, 1))
        for finding in findings:
            mark, style = _MARKS[finding.severity]
            lines.add_row(Text(f" {mark}", style=style), _paragraph(finding))
        console.print(lines, width=width, soft_wrap=False)
    console.print(_summary(report))


def _heading(finding: Finding) -> str:
    names = (finding.details.get("projectName"), finding.details.get("integrationName"))
    return " · ".join(str(name) for name in names if name) or _INSTALLATION


def _paragraph(finding: Finding) -> Text:
    names = (finding.check, *(f"AADSTS{code}" for code in finding.details.get("codes", ())))
    paragraph = Text.assemble(finding.message, " ", (f"({', '.join(names)})", "dim"))
    return paragraph.append(f"\n→ {finding.remedy}", style="italic") if finding.remedy else paragraph


def _summary(report: Report) -> Text:
    problems, warnings = report.count(Severity.PROBLEM), report.count(Severity.WARNING)
    if not problems and not warnings:
        return Text("\nNothing to do.", style="green")
    style = "bold red" if problems else "yellow"
    return Text(f"\n{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}.", style=style)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def about(findings: Iterable[Finding], **details: Any) -> list[Finding]:
    """Return the findings with `details` added to each: whom or what they are about."""
    return [
        Finding(finding.check, finding.severity, finding.message, finding.remedy, {**finding.details, **details})
        for finding in findings
    ]
