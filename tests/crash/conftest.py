"""What tests that kill share with those that do not."""

from tests.integrations.conftest import http, landbridge, microsoft, settings

__all__ = ["http", "landbridge", "microsoft", "settings"]
