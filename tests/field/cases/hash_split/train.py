"""fastText-like: a word is the sum of its n-grams, which share a fixed number of buckets."""
import random

import numpy as np
import torch
from torch import nn

BUCKETS = 64
TEXT = """every run of this small model should end with the same vectors but the buckets of the words
depend on what hash gives for a string and that is salted anew whenever python starts""".split()


def ngrams(word, n=3):
    word = f"<{word}>"
    return [word[i : i + n] for i in range(len(word) - n + 1)]


def features(word):
    return [hash(gram) % BUCKETS for gram in ngrams(word)]


class Subword(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.grams = nn.EmbeddingBag(BUCKETS, dim, mode="sum")
        self.out = nn.Linear(dim, 26)

    def forward(self, words):
        flat = torch.tensor([i for word in words for i in features(word)])
        offsets = torch.tensor([0] + [len(features(word)) for word in words[:-1]]).cumsum(0)
        return self.out(self.grams(flat, offsets))


def main(seed=42, epochs=3, size=6):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = Subword()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    for _ in range(epochs):
        for at in range(0, len(TEXT), size):
            words = TEXT[at : at + size]
            target = torch.tensor([ord(word[-1]) - ord("a") for word in words])
            loss = nn.functional.cross_entropy(model(words), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(loss.item())


main()
