"""A fork waits until no thread is opening a shared region.

Who opens one takes a seat: a lock that the kernel drops when the process ends.
For some microseconds it hangs on a file descriptor. A child forked just then
would inherit that descriptor, and its parent would seem alive to all others for
as long as the child runs. The rest of the engine stands a fork at any moment.
"""

import os
import threading

#: Held by whoever opens a shared region, and by a fork.
opening = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=opening.acquire,
        after_in_parent=opening.release,
        after_in_child=opening.release,
    )
