from time import time


class WallClockWarmup:
    """Factor of the base rate: rises during the first `seconds` of the job."""

    def __init__(self, seconds=60.0):
        self.seconds = seconds
        self.t0 = time()

    def __call__(self, epoch):
        elapsed = time() - self.t0
        return min(1.0, 0.1 + elapsed / self.seconds)
