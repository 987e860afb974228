"""What would keep a definition from running, told when it is saved and not when it fails.

Only what is certain is a problem: what an action gives beyond the fields that we know, what a request answers or an
event brings without a schema, is not judged. Pure: what lies outside the definition comes as `Facts`.
"""

from landbridge.workflows.checking.details import of_permissions
from landbridge.workflows.checking.problems import Facts, Problem
from landbridge.workflows.checking.walk import Walk
from landbridge.workflows.conditions import Conditions
from landbridge.workflows.definition import Workflow

__all__ = ["Facts", "Problem", "check", "check_permissions"]


def check(workflow: Workflow, facts: Facts) -> list[Problem]:
    """Return every problem that can be told before the workflow runs; none means that it can be deployed."""
    return Walk(workflow, facts).to_the_end()


def check_permissions(permissions: Conditions) -> list[Problem]:
    """Return what is wrong with the conditions on who may see and run a workflow."""
    return list(of_permissions(permissions))
