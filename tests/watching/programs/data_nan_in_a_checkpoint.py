import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, words):
        return self.head(self.embed(words).mean(1))  # seen first


torch.manual_seed(0)
saved = Classifier().state_dict()
saved["head.bias"][2] = float("nan")
model = Classifier()
model.load_state_dict(saved)
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(3):
    loss = nn.functional.cross_entropy(model(torch.randint(0, 10, (4, 5))), torch.randint(0, 3, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
