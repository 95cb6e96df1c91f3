"""A real phone for tests and monitoring, and the probe that places a call with it."""
