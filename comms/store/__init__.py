"""What must last, in SQL: models, migrations and the stores' engine.

SQLite by default, PostgreSQL by another URL. Every function here takes a SQLAlchemy
`AsyncEngine`, as `comms.store.engine.open_engine` makes it.
"""
