import torch


def focal(logits, y, gamma=2.0):
    logp = torch.log_softmax(logits, -1).gather(1, y[:, None])
    return (-((1 - logp.exp()) ** gamma) * logp).mean()
