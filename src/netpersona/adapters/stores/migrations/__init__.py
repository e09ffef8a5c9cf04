"""Alembic's migrations of the store, run when a store of an older revision is opened."""
