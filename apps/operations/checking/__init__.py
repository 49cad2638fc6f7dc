"""
An operation that changes nothing, sent through everything: what ``manage.py check_delivery`` does.

``lane``      what a worker does with its step, and for whom it is done
``listener``  the WebSocket client that waits for its event
``journey``   the operation on its way, station by station
"""
