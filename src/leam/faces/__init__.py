"""From picture files to aligned faces."""
