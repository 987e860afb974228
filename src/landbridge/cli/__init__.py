"""The terminal's way in. Every command takes `--json`."""

from landbridge.cli import authoring, flows, service, tenants, testing
from landbridge.cli.terminal import fail
from landbridge.errors import LandbridgeError

cli = service.commands
cli.add_typer(service.keys, name="keys")
cli.add_typer(tenants.projects, name="projects")
cli.add_typer(tenants.signing_keys, name="signing-keys")
cli.add_typer(tenants.api_keys, name="api-keys")
cli.add_typer(tenants.integrations, name="integrations")
cli.add_typer(tenants.users, name="users")
cli.add_typer(tenants.connections, name="connections")
cli.command("new-integration")(authoring.new_integration)
flows.workflows.command("test")(testing.try_draft)
cli.add_typer(flows.workflows, name="workflows")
cli.add_typer(flows.runs, name="runs")
cli.add_typer(flows.secrets, name="secrets")
cli.add_typer(flows.events, name="events")


def main() -> None:
    """Run the command line; what goes wrong is told in plain words, with exit code 1."""
    try:
        cli()
    except LandbridgeError as error:
        fail(error)
