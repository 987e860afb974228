"""What the pages and routes are given: the rooms below, assembled by `app`."""

from dataclasses import dataclass

from landbridge.access import Access
from landbridge.catalog import Catalog
from landbridge.clock import Clock
from landbridge.connections.accounts import Accounts
from landbridge.connections.picker import Picker
from landbridge.connections.sign_ins import SignIns
from landbridge.connections.tokens import Tokens
from landbridge.files import Files
from landbridge.kit import Actions, Workbench
from landbridge.projects import Projects
from landbridge.proxy import Proxy
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.telemetry import Metrics
from landbridge.workflows.deployments import Deployments
from landbridge.workflows.large_values import LargeValues
from landbridge.workflows.runs import Runs, Sealing
from landbridge.workflows.testing import Testing
from landbridge.workflows.triggers import Triggers


@dataclass(frozen=True)
class Rooms:
    """The rooms that HTTP leads to."""

    settings: Settings
    clock: Clock
    database: Database
    catalog: Catalog
    projects: Projects
    access: Access
    accounts: Accounts
    sign_ins: SignIns
    picker: Picker
    tokens: Tokens
    proxy: Proxy
    actions: Actions
    workbench: Workbench
    files: Files
    deployments: Deployments
    runs: Runs
    sealing: Sealing
    large_values: LargeValues
    triggers: Triggers
    testing: Testing
    metrics: Metrics
