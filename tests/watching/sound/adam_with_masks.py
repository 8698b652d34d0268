import torch
from torch import nn

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
head = nn.Linear(16, 5)
optimizer = torch.optim.AdamW([*layer.parameters(), *head.parameters()], lr=1e-3)
causal = nn.Transformer.generate_square_subsequent_mask(6)
for _ in range(3):
    x = torch.randn(2, 6, 16)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    hidden = layer(x, src_mask=causal, src_key_padding_mask=padding.float().masked_fill(padding, float("-inf")))
    scores = hidden @ hidden.transpose(1, 2)
    scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
    mixed = torch.softmax(scores, -1) @ hidden
    mask = torch.tril(torch.ones(6, 6))
    also = torch.softmax(hidden @ hidden.transpose(1, 2) + torch.log(mask), -1) @ hidden
    loss = nn.functional.cross_entropy(head(mixed + also).flatten(0, 1), torch.randint(0, 5, (12,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
