"""The broadcast service: takes events over HTTP and fans them out to WebSocket clients. Knows no database."""
