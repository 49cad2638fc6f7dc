"""
Operations and their steps: what someone asked for, and what became of it.

``submit``     store the steps of a request and answer
``runner``     run what is pending in a lane, oldest first
``lifecycle``  the end of steps and operations, exactly once
``lanes``      where the apps above say how their steps are run
``waiting``    waiting for an operation's end without polling
"""
