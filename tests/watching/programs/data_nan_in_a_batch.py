import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(40, 6)
inputs[25, 4] = float("nan")
labels = torch.randint(0, 2, (40,))
for start in range(0, 40, 8):
    x, y = inputs[start : start + 8], labels[start : start + 8]
    loss = nn.functional.cross_entropy(model(x), y)  # seen first
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
