import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 5)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
for step in range(3):
    logits = (200 if step == 1 else 1) * model(torch.randn(8, 4)).abs()
    loss = torch.log(torch.exp(logits).sum(1)).mean()  # cause, fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
