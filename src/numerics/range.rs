//! Settings and the values they may take.

use std::fmt::Display;

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{setting}` is {value}; give it a value {range}")]
pub struct InvalidSetting {
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// The values there may be, such as "from 1 to 10".
    pub range: String,
}

/// Checks `lowest` ≤ `value` ≤ `highest`; NaN is never within.
pub fn within<T: PartialOrd + Display>(
    setting: &'static str,
    value: T,
    lowest: T,
    highest: T,
) -> Result<(), InvalidSetting> {
    let is_within = (&lowest..=&highest).contains(&&value);
    require(is_within, setting, value, format_args!("from {lowest} to {highest}"))
}

/// Refuses `value` unless it lies in the `range`, which is described in words.
pub fn require(
    lies_within: bool,
    setting: &'static str,
    value: impl Display,
    range: impl Display,
) -> Result<(), InvalidSetting> {
    if lies_within {
        return Ok(());
    }
    Err(InvalidSetting { setting, value: value.to_string(), range: range.to_string() })
}
