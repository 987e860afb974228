"""What would keep a definition from running, told when it is saved and not when it fails.

Only what is certain is a problem: what an action gives beyond the fields that we know, what a request answers or an
event brings without a schema, is not judged. Pure: what lies outside the definition comes as `Facts`.
"""

from landbridge.workflows.checking.problems import Facts, Problem
from landbridge.workflows.checking.walk import Walk
from landbridge.workflows.definition import Workflow

__all__ = ["Facts", "Problem", "check"]


def check(workflow: Workflow, facts: Facts) -> list[Problem]:
    """Return every problem that can be told before the workflow runs; none means that it can be deployed."""
    return Walk(workflow, facts).to_the_end()
