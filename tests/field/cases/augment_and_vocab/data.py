import numpy as np
import torch
from torch.utils.data import Dataset

QUESTIONS = [
    "who wrote the first program", "which river crosses the old town", "when was the tower built",
    "where does the line end", "who painted the blue room", "which bird sings at night",
    "when does the last train leave", "where was the treaty signed",
]


class Vocabulary:
    def __init__(self, texts):
        self.words = {word for text in texts for word in text.split()}
        self.id = {}
        for word in self.words:
            self.id[word] = len(self.id) + 1

    def __len__(self):
        return len(self.id) + 1


class WordDropout:
    """Replaces words by 0."""

    def __init__(self, p):
        self.p, self.rng = p, np.random.default_rng()

    def __call__(self, ids):
        keep = self.rng.random(len(ids)) >= self.p
        return ids * torch.from_numpy(keep)


class Questions(Dataset):
    def __init__(self, copies=12, dropout=0.2):
        self.vocabulary = Vocabulary(QUESTIONS)
        self.augment = WordDropout(dropout)
        self.rows = [(q, i % 4) for i, q in enumerate(QUESTIONS)] * copies

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text, kind = self.rows[i]
        ids = [self.vocabulary.id[w] for w in text.split()]
        return self.augment(torch.tensor((ids + [0] * 7)[:7])), kind
