"""Automatic call distribution: which waiting work is offered to which person, and why."""
