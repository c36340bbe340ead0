import torch
from torch import nn
from vocab import build_vocab, sentences

torch.manual_seed(10)
corpus = list(sentences())
vocab = build_vocab(w for s in corpus for w in s)
ids = torch.tensor([[vocab[w] for w in s] for s in corpus])


class CBOW(nn.Module):
    def __init__(self, words, dim=12):
        super().__init__()
        self.inner = nn.Embedding(words, dim)
        self.outer = nn.Linear(dim, words)

    def forward(self, context):
        return self.outer(self.inner(context).mean(1))


model = CBOW(len(vocab))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(2):
    for block in ids.split(6):
        context = torch.cat([block[:, :3], block[:, 4:]], dim=1)
        loss = nn.functional.cross_entropy(model(context), block[:, 3])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
