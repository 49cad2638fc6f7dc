"""
What the API, its workers and the broadcast service say to each other: the one place where both sides look it up.

Needs nothing but the standard library and a JWT library, so that either side can import it without the other.

``topics``   names of what a client subscribes to
``events``   event types, the envelope, its encoding
``tickets``  the signed right to listen, made by the API and checked by the broadcast service
``bridge``   how a POST to the broadcast service is signed, and its limits
``frames``   what travels over the WebSocket besides events, and the close codes
``origins``  whose pages may ask: how they are written
"""
