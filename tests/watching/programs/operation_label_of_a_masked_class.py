import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 5)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for step in range(3):
    logits = model(torch.randn(6, 4)).masked_fill(torch.tensor([True, False, False, False, False]), float("-inf"))
    loss = nn.functional.cross_entropy(logits, torch.tensor([1, 2, 3, 4, 1, 0 if step == 1 else 2]))  # fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
