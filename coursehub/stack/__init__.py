"""
The embedded run: everything that CourseHub needs, on one machine, from three wheels and a Procfile.

``postgres``   a PostgreSQL of our own, also for root and behind a closed home directory
``valkey``     a Valkey of our own, on loopback and behind a password
``swift``      an S3 of our own, in two processes (``swift_server``)
``processes``  a child with its process group, its log and its end
``watchdog``   what ends the children when their parent is killed
``datadir``    COURSEHUB_DATA: secrets, logs, state, and the lock that keeps a second run out
``services``   PostgreSQL, Valkey and Swift together
``stack``      the services and the parts of the Procfile, watched and restarted
``cli``        ``python -m coursehub.stack run|services|clean``

Needs neither Django's settings nor a running anything.
"""
