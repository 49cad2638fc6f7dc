"""``make bench-media``: the media manager at size."""
