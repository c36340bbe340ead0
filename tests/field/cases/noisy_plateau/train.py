import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau


class Validation:
    """Scores a model on a sample of the data; the sample is drawn anew each time."""

    def __init__(self, x, y, size=24):
        self.x, self.y, self.size = x, y, size
        self.sampler = torch.Generator()
        self.sampler.seed()

    @torch.no_grad()
    def score(self, model):
        model.eval()
        error = (model(self.x) - self.y).square().squeeze(1)
        model.train()
        return error[torch.randint(len(error), (self.size,), generator=self.sampler)].mean().item()


def main():
    torch.manual_seed(12)
    x = torch.randn(96, 6)
    y = x.pow(2).sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    scheduler = ReduceLROnPlateau(optimizer, patience=0, factor=0.3, threshold=0.05)
    validation = Validation(x, y)
    for epoch in range(8):
        for batch, target in zip(x.split(24), y.split(24), strict=True):
            loss = nn.functional.mse_loss(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step(validation.score(model))
        print(epoch, loss.item(), optimizer.param_groups[0]["lr"])


main()
