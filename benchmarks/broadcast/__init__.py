"""The broadcast service beside its peers and the least a server can do, on the same work: ``make bench-broadcast``."""
