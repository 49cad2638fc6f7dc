"""
What a file is: by its content, never by its name or by what a client said of it.

``inspector``   asks, from the worker: starts a process, reads ranges for it, and believes nothing it could not check
``child``       that process: no credentials, no way to open a file or a socket, little memory and time
``signatures``  the kinds of file that are known, by their first bytes
``structure``   whether all of the file is there, by its own account
``probes``      duration, size, codecs, over PyAV and Pillow
``ranges``      how the two processes talk, and a file object that reads through it
``facts``       what is found out

Nothing here but the inspector may import Django: the child does without.
"""
