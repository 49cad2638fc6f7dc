"""What accounts tells the apps above it."""

from django.dispatch import Signal

user_disabled = Signal()
"""Sent inside the transaction that disables a user; argument ``user``."""
