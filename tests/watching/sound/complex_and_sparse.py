import torch
from torch import nn

torch.manual_seed(0)
convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
spectrum = nn.Parameter(torch.randn(4, dtype=torch.cfloat))
optimizer = torch.optim.Adam([*convolution.parameters(), spectrum], lr=1e-2)
sparse = torch.randn(5, 5).relu().to_sparse()
for _ in range(3):
    y = convolution(torch.randn(2, 3, 6, 6).to(memory_format=torch.channels_last))
    z = torch.fft.ifft(torch.fft.fft(y.mean((2, 3))) * spectrum).abs().sum()
    scale = torch.sparse.mm(sparse, torch.randn(5, 2)).sum()
    optimizer.zero_grad()
    (y.square().mean() + z + scale * convolution.bias.sum()).backward()
    optimizer.step()
