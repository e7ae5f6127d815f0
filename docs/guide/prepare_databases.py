"""Make the databases ready that the edited files of a configuration name."""

from dismaiflow.launch.config import build_jobstore, import_launchpad, load_config
from dismaiflow.launch.indexes import make_launchpad_indexes, make_store_indexes

config = load_config()
make_launchpad_indexes(import_launchpad(config).from_dict(config.launchpad_settings()))
with build_jobstore(config.file("jobflow.yaml"), config.store_spec()) as store:
    make_store_indexes(store)
