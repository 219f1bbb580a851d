//! Settings and the values they may take.

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("setting `{setting}` is {value}; give it a value from {lowest} to {highest}")]
pub struct InvalidSetting {
    pub setting: &'static str,
    pub value: f64,
    pub lowest: f64,
    pub highest: f64,
}

/// Checks `lowest` ≤ `value` ≤ `highest`; NaN is never within.
pub fn within(setting: &'static str, value: f64, lowest: f64, highest: f64) -> Result<(), InvalidSetting> {
    if (lowest..=highest).contains(&value) { Ok(()) } else { Err(InvalidSetting { setting, value, lowest, highest }) }
}
