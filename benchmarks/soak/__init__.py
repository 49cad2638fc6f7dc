"""A long day in ten minutes: saves, clients that come and go, servers that die; nothing may be lost: ``make soak``."""
