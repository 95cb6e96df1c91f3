"""People, their devices, numbers and queues.

`checks` holds the rules (`check_*`), `access` who may see or do what (`access_*`), `actions` what
changes the store (`do_*`). The caller of a `do_*` publishes the change after the commit.
"""
