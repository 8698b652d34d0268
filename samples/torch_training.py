"""A training run whose temperature falls: after some steps the logarithm of its softmax meets a 0."""

import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(8, 4)
labels = torch.randint(0, 3, (8,))

loss = torch.tensor(0.0)
for step in range(12):
    p = torch.softmax(model(x) / 0.5**step, dim=1)
    loss = -torch.log(p[torch.arange(8), labels]).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
print(f"the loss is {loss.item()}")
