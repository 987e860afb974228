"""HTTP's way in: the SDK's wire, the proxy, the OAuth pages, the portal, the management API."""
