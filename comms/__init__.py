"""The platform: people, devices, permissions, stores, HTTP API, live events, command line."""
