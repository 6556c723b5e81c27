"""Labels that are said to be one, and those that must stay, with the reason."""

FIXED = 0               # the label of channels that must stay


class Ties:
    """Labels that are tied, two lists at a time.

    Attributes
    ----------
    parent : list of int
        A label that each label is tied to; itself, of one that stands for its group.
    reasons : dict of int to str
        Why labels must stay, by the label that stands for their group.
    """

    def __init__(self):
        self.parent, self.reasons = [FIXED], {}

    def fresh(self, count: int) -> list[int]:
        """So many new labels."""
        start = len(self.parent)
        self.parent += range(start, start + count)
        return list(range(start, start + count))

    def root(self, label: int) -> int:
        """The label that stands for a label's group."""
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def tie(self, some: list[int], others: list[int]) -> None:
        """Make each label one with its neighbour in the other list."""
        for one, other in zip(some, others, strict=True):
            low, high = sorted((self.root(one), self.root(other)))
            self.parent[high] = low
            if high != low and high in self.reasons:
                self.reasons.setdefault(low, self.reasons.pop(high))

    def fix(self, labels: list[int], reason: str) -> None:
        """Say that labels must stay; the first reason for each is kept."""
        for label in labels:
            self.reasons.setdefault(self.root(label), reason)

    def reason(self, label: int) -> str | None:
        """Reason why a label must stay, or None."""
        return self.reasons.get(self.root(label))
