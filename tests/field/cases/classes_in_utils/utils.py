import numpy as np


def encode_onehot(labels):
    classes = set(labels)
    rows = {c: np.identity(len(classes))[i] for i, c in enumerate(classes)}
    return np.array([rows[label] for label in labels], dtype=np.float32)


def load_graph(n=36):
    """A ring of papers; the topic of each follows from its number."""
    topics = ["Theory", "Neural_Networks", "Case_Based", "Genetic_Algorithms", "Rule_Learning"]
    labels = [topics[(i * i // 3 + i) % len(topics)] for i in range(n)]
    adjacency = np.eye(n) + np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0)
    features = np.cos(np.outer(np.arange(n), np.arange(1, 9)) * 0.7)
    return (adjacency / 3).astype(np.float32), features.astype(np.float32), encode_onehot(labels)
