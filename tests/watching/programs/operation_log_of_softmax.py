import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        logits = 200 * self.fc(x)
        p = torch.softmax(logits, -1)  # cause
        return torch.log(p)  # fault


torch.manual_seed(0)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
for _ in range(4):
    loss = nn.functional.nll_loss(model(torch.randn(16, 8)), torch.randint(0, 4, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
