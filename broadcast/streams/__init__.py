"""Event streams: ``GET /events``, for networks that let no WebSocket through."""
