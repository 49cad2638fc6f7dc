"""
Courses, chapters and videos.

``outline``   the rules of editing: a pure function
``store``     loads the part of an outline that changes touch, and writes the difference
``actions``   runs the steps of a course's lane
``access``    finds what a user may see or change
``plans``     turns requests into steps
"""
