"""The three places of a run: inputs arrive in one, rest in another, results go out."""

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
    """The three places of a run."""

    inbound: Storage
    processed: Storage
    out: Storage

    @classmethod
    def of(cls, config: RunConfig) -> Locations:
        """Open them; results and processed files never go where inputs come from."""
        urls = (config.inbound, config.processed, config.out)
        inbound, processed, out = (open_storage(url) for url in urls)
        if len({inbound.url, processed.url, out.url}) < len(urls):
            raise ConfigError(
                "two of inbound, processed and out are the same place",
                why=f"{inbound.url}, {processed.url}, {out.url}",
                help="give inputs, processed inputs and results a place each",
            )
        return cls(inbound, processed, out)

    def with_canonical_urls(self, config: RunConfig) -> RunConfig:
        """The configuration with the one spelling of each place."""
        return replace(
            config,
            inbound=self.inbound.url,
            processed=self.processed.url,
            out=self.out.url,
        )
