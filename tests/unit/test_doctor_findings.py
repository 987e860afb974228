"""A report reads well on a terminal and in a program."""

from io import StringIO

from rich.console import Console

from landbridge.doctor.findings import Report, about, ok, problem, render, warning

REPORT = Report(
    (
        ok("database", "It answers [as it should]."),
        *about(
            [problem("integration.client_secret", "It is wrong.", "Copy the Value.", codes=[7000215])],
            projectName="Acme",
            integrationName="OneDrive",
        ),
        *about([warning("project.allowed_origins", "There is none.", "Add one.")], projectName="Acme"),
    )
)


def rendered(report: Report) -> str:
    shown = StringIO()
    render(report, Console(file=shown, width=100))
    return shown.getvalue()


def test_a_person_reads_what_belongs_together_under_one_heading() -> None:
    lines = [line.rstrip() for line in rendered(REPORT).splitlines()]

    assert lines == [
        "",
        "This installation",
        " ✓ It answers [as it should]. (database)",
        "",
        "Acme · OneDrive",
        " ✗ It is wrong. (integration.client_secret, AADSTS7000215)",
        "   → Copy the Value.",
        "",
        "Acme",
        " ! There is none. (project.allowed_origins)",
        "   → Add one.",
        "",
        "1 problem, 1 warning.",
    ]


def test_a_healthy_report_says_that_there_is_nothing_to_do() -> None:
    assert rendered(Report((ok("database", "It answers."),))).rstrip().endswith("Nothing to do.")


def test_a_program_reads_counts_and_findings() -> None:
    read = REPORT.as_json()

    assert (read["healthy"], read["problems"], read["warnings"]) == (False, 1, 1)
    assert read["findings"][1] == {
        "check": "integration.client_secret",
        "severity": "problem",
        "message": "It is wrong.",
        "remedy": "Copy the Value.",
        "details": {"codes": [7000215], "projectName": "Acme", "integrationName": "OneDrive"},
    }


def test_warnings_alone_are_healthy() -> None:
    assert Report((warning("projects", "There is none.", "Create one."),)).is_healthy
