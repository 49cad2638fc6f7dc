"""What every app stands on: errors, ids, time, request bodies, answers, pages, health and metrics."""
