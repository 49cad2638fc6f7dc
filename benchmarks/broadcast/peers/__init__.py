"""Who is measured: each a server that takes POSTs of events and sends them to WebSocket clients."""
