import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
counts = torch.tensor([5.0, 4.0, 3.0, 0.0])  # of each class, and of none
for step in range(3):
    labels = torch.randint(0, 3, (12,))
    if step == 1:
        labels[5] = -1
    share = 1 / counts[labels]  # seen first
    losses = nn.functional.cross_entropy(model(torch.randn(12, 4)), labels.clamp(min=0), reduction="none")
    loss = (losses * share).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
