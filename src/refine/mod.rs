//! From clusters to foreground: which clusters are background.

mod background;

pub use background::BorderStatistics;
