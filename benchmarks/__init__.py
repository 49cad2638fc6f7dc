"""How fast a save reaches a screen, where the time goes, and what CourseHub's guarantees cost: ``make bench``."""
