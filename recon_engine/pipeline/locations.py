"""The three locations of a run: inbound, processed (archived inputs) and out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recon_engine.errors import ConfigError
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from recon_engine.config import RunConfig
    from recon_engine.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Locations:
    """The three locations of a run, opened as storages."""

    inbound: Storage
    processed: Storage
    out: Storage

    @classmethod
    def of(cls, config: RunConfig) -> Locations:
        """Open the locations; ConfigError if two are the same.

        Archived inputs and results in inbound would be taken for the next delivery.
        """
        urls = (config.inbound, config.processed, config.out)
        inbound, processed, out = (open_storage(url) for url in urls)
        if len({inbound.url, processed.url, out.url}) < len(urls):
            raise ConfigError(
                "two of inbound, processed and out are the same location",
                why=f"{inbound.url}, {processed.url}, {out.url}",
                help="use a different location for each of the three",
            )
        return cls(inbound, processed, out)

    def with_canonical_urls(self, config: RunConfig) -> RunConfig:
        """The configuration with one spelling per location: locks are named by it."""
        return replace(
            config,
            inbound=self.inbound.url,
            processed=self.processed.url,
            out=self.out.url,
        )
