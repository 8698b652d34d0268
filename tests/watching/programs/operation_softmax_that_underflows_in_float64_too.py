import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(16, 400)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
labels = torch.randint(0, 400, (64, 1))
for _ in range(2):
    p = torch.softmax(3000 * model(torch.randn(64, 16)), -1)  # cause
    loss = -torch.log(p.gather(-1, labels)).mean()  # fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
