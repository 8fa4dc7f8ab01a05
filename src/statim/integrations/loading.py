"""The model that an integration is given."""

from pathlib import Path

from statim.model import StaticModel


def loaded(model: StaticModel | str | Path) -> StaticModel:
    """A model, or the one at a place (see ``StaticModel.load``).

    Raises:
        ModelError: There is no model there.
    """
    return model if isinstance(model, StaticModel) else StaticModel.load(model)
