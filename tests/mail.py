"""Ranks that are threads."""

from patience import patient


class Mail:
    """One rank of a communicator whose ranks are threads: the few MPI calls that the engine uses."""

    def __init__(self, rank, boxes):
        self.rank, self.size, self.boxes = rank, len(boxes), boxes

    Abort = None  # never called

    def send(self, message, to, tag=0):
        self.boxes[to].put(message)

    def iprobe(self, *_, tag=0):
        return not self.boxes[self.rank].empty()

    def recv(self, source=None, tag=0):
        return self.boxes[self.rank].get(timeout=patient(20))
