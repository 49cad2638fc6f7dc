"""
The floor: the same way of a save with none of CourseHub's guarantees.

A view that checks nothing, a Celery task, one UPDATE, one POST to the same broadcast service. No user, no rights, no
operation, no order, no outbox, nothing that survives a crash. What CourseHub costs above it is the price of those.
"""
