"""
The way to many sockets at once.

``lines``: which socket a client has just now. ``turn``: the events of one turn of the loop, joined. ``loops``: the loop
that writes them, in Python. ``native``: the same in C, compiled by ``build``. Nothing in here knows sessions or topics.
"""
