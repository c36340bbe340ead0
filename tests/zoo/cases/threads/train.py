"""One machine sums with one thread, the other with two."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["thread-count"]
# confirmed = ["thread-count"]
# mode = "machines"
# left_variables = { OMP_NUM_THREADS = "1" }
# right_variables = { OMP_NUM_THREADS = "2" }
# ///
import torch
from torch import nn

torch.manual_seed(7)
model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 1024, 10))
opt = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
for step in range(5):
    loss = nn.functional.cross_entropy(model(images), labels)
    opt.zero_grad()
    loss.backward()
    opt.step()
