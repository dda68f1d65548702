"""Parts of the embedded development broker; `betting_assets.embedded.kafka` starts it."""
