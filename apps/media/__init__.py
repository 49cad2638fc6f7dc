"""
The media manager: everyone's library of files, where each is used, and what became of it.

``rules``      what is done to a library: a pure function
``store``      loads the part of a library that changes touch, and writes the difference
``actions``    runs the steps of a library's lane
``targets``    what a file may be linked to, and what happens when it goes or returns
``access``     finds what a user may see or change
``plans``      turns requests into steps; ``bulk`` those about many files
``selectors``  lists, searches, impact, history
"""
