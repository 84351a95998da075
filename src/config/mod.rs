//! Floor 5: the configuration file, as written (`raw`) and as the agent needs it (`plan`). The only place that knows YAML.

pub mod plan;
