"""
Events on their way out: written with the change they tell of, delivered in order, at least once.

``emit``      writes events, in the transaction of the change
``delivery``  carries a topic's events to the broadcast service; one way for the fast path and for recovery
``drainer``   the thread that delivers at once, in each process that emits
``relay``     the process that finds what was left lying
"""
