# To be sourced by whoever submits or works: `source .../env.sh`, also in ~/.bashrc. The queue
# adapters source it. `dismai launchpad init` fills in what stands in double braces.

# The Python environment that dismaiflow is installed in.
export PATH={{bin}}:"$PATH"

# Your site's modules, for instance:
# module load vasp

# What killed relaxations have finished. On a disk that all workers share they go on anywhere.
# export DISMAI_SCRATCH_DIR="$SCRATCH/dismai"

export DISMAI_LAUNCHPAD_DIR={{folder}}
export JOBFLOW_CONFIG_FILE="$DISMAI_LAUNCHPAD_DIR/jobflow.yaml"
export ATOMATE2_CONFIG_FILE="$DISMAI_LAUNCHPAD_DIR/atomate2.yaml"
# Where ~/.fireworks leads here already, a second name would only make FireWorks complain.
if [ "$HOME/.fireworks/FW_config.yaml" -ef "$DISMAI_LAUNCHPAD_DIR/FW_config.yaml" ]; then
    unset FW_CONFIG_FILE
else
    export FW_CONFIG_FILE="$DISMAI_LAUNCHPAD_DIR/FW_config.yaml"
    if [ -e "$HOME/.fireworks/FW_config.yaml" ]; then
        echo "warning: ~/.fireworks/FW_config.yaml wins over FW_CONFIG_FILE and leads to another" \
            "LaunchPad: say rlaunch -c $DISMAI_LAUNCHPAD_DIR, or remove it" >&2
    fi
fi
