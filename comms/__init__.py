"""The platform: people, devices, permissions, stores, HTTP API, live events and the command line."""
