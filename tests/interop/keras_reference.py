"""An imported file beside what the article's own code computed: tests and the fixtures' script."""

from pathlib import Path

import numpy as np
import torch

from loang.interop.keras import read
from loang.interop.keras.article import Imported
from loang.interop.keras.names import article_weights, torch_layout, torch_name


def images(values: np.ndarray) -> torch.Tensor:
    """Channels first."""
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def output_error(found: Imported, reference) -> float:
    """The largest difference of the network's output, in standard deviations of the output."""
    network = found.model.denoiser.network.eval()
    expected = images(reference["y"])
    y = network(images(reference["x"]), torch.from_numpy(reference["t"]))
    return float((y - expected).abs().max() / expected.std())


def step_errors(found: Imported, reference) -> tuple[float, float]:
    """Of one training step from the imported slots, by the settings that came with them.

    Returns:
        How far the changes of all weights are from Keras's, as a share of theirs; and the largest
        difference of a weight, as a share of the learning rate.
    """
    network, moments = found.model.denoiser.network, found.moments
    settings = found.model.settings.optimizer
    names = [name for name, _ in network.named_parameters()]
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    state = {
        number: {
            "step": torch.tensor(float(moments.steps)),
            "exp_avg": moments.first[name],
            "exp_avg_sq": moments.second[name],
        }
        for number, name in enumerate(names)
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    predicted = network(images(reference["step_x"]), torch.from_numpy(reference["step_t"]))
    loss = (predicted - images(reference["step_noise"])).square().mean()
    np.testing.assert_allclose(loss.item(), reference["step_loss"], rtol=1e-5)
    loss.backward()
    optimizer.step()
    wrong = changed = most = 0.0
    after = {name: weight.detach() for name, weight in network.named_parameters()}
    for number, name in enumerate(article_weights()):
        theirs = torch_layout(name, reference[f"after/{number:03d}"])
        apart = after[torch_name(name)] - torch.from_numpy(np.ascontiguousarray(theirs))
        wrong += apart.square().sum().item()
        changed += (after[torch_name(name)] - before[torch_name(name)]).square().sum().item()
        most = max(most, apart.abs().max().item())
    return (wrong / changed) ** 0.5, most / settings.learning_rate


def check(folder: Path) -> None:
    """Print how far each file in a folder of the script's is from its reference."""
    files = (
        "checkpoints",
        "with-optimizer",
        "weights/net",
        "net.h5",
        "net.weights.h5",
        "net.keras",
    )
    for kind in ("keras2", "keras3"):
        with np.load(folder / kind / "reference.npz") as reference:
            for name in files:
                path = folder / kind / name
                if not (path.exists() or path.with_name(f"{path.name}.index").exists()):
                    continue
                found = read(path)
                line = f"{kind}/{name}: output {output_error(found, reference):.1e}"
                if found.moments is not None:
                    share, most = step_errors(found, reference)
                    line += f", step {share:.1e} of its length, {most:.1e} learning rates at most"
                print(line, flush=True)
