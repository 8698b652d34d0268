import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(2, 3, bias=False)
with torch.no_grad():
    model.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
for step in range(3):
    # At 102 the probability is below the normal numbers, and not 0: the loss is finite.
    size = 102.0 if step == 1 else 1.0
    logits = model(torch.tensor([[size, 0.0], [0.0, size]]))
    p = torch.softmax(logits, -1)
    loss = -torch.log(p[torch.arange(2), torch.tensor([1, 0])]).mean()  # cause, fault
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
