"""Calls: dialling for somebody, the history, its records and how long these are kept."""
