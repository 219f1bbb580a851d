//! Which bands of a page are shown as red, green and blue.

use super::error::DecodeError;
use crate::pixels::page::Page;
use crate::pixels::settings::{Bands, DecodeConfig};

/// The bands that are shown, counted from 0; a band that is chosen to be seen is no opacity any more.
pub(super) fn chosen(
    page: &mut Page,
    settings: &DecodeConfig,
    remarks: &mut Vec<String>,
) -> Result<[usize; 3], DecodeError> {
    if let Some(bands) = settings.bands {
        let numbers = match bands {
            Bands::One(band) => [band; 3],
            Bands::Three(bands) => bands,
        };
        if let Some(&band) = numbers.iter().find(|&&band| usize::from(band) > page.bands) {
            return Err(DecodeError::NoBand { band, bands: page.bands });
        }
        let bands = numbers.map(|band| usize::from(band) - 1);
        page.alpha = page.alpha.filter(|alpha| !bands.contains(&alpha.band));
        return Ok(bands);
    }
    let opacity = page.alpha.map(|alpha| alpha.band);
    let visible: Vec<usize> = (0..page.bands).filter(|&band| Some(band) != opacity).collect();
    Ok(match visible[..] {
        [] => [0; 3],
        [only] => [only; 3],
        [first, _] => {
            remarks.push("of its 2 bands the first is shown; `pixels.bands` chooses others".into());
            [first; 3]
        }
        [red, green, blue] => [red, green, blue],
        [red, green, blue, ..] => {
            let count = visible.len();
            remarks.push(format!(
                "of its {count} bands the first three are taken for red, green and blue; `pixels.bands` chooses others"
            ));
            [red, green, blue]
        }
    })
}
