"""Users, their tokens, and the tickets that say who may hear which topic."""
