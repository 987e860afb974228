"""OneDrive, for personal and work accounts, through Microsoft Graph."""
