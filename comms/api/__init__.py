"""The HTTP API under `/api/v1`: routes, their models and how errors are told."""
