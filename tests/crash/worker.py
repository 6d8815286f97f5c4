"""A thread of a crash test, whose failure is found."""

import threading


class Worker(threading.Thread):
    """A daemon thread that does `work`; `failure` is what it died of."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.failure: BaseException | None = None
        self.ending = threading.Event()

    def run(self) -> None:
        """Work, and keep the failure."""
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure

    def work(self) -> None:
        """What the thread is for; it returns soon after `ending` is set."""
        raise NotImplementedError
