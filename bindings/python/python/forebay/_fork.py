"""A fork waits until no thread is opening anything.

Opening lets other threads run, and takes locks that only the thread that took
them can release: a child forked meanwhile would wait for them for ever. All
other calls hold the interpreter from end to end, and so does a fork.
"""

import os
import threading

#: Held by whoever opens a region or one of its objects, and by a fork.
opening = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=opening.acquire,
        after_in_parent=opening.release,
        after_in_child=opening.release,
    )
