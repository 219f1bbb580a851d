//! The directory of a ZIP archive, as PyTorch writes it.
//!
//! Source: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16 (its end).

/// One file in an archive.
pub struct Entry<'a> {
    pub name: String,
    /// As it is stored, so not what it means if it is compressed.
    pub data: &'a [u8],
    pub compressed: bool,
}

/// The entries of an archive, in the order of its directory.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    const TOO_EARLY: &str = "it is a damaged or truncated ZIP archive; fetch it again";
    let short = |at: usize| -> Result<usize, String> {
        let field = at.checked_add(2).and_then(|end| bytes.get(at..end)).ok_or(TOO_EARLY)?;
        Ok(usize::from(u16::from_le_bytes([field[0], field[1]])))
    };
    let long = |at: usize| -> Result<usize, String> { Ok(short(at)? | short(at + 2)? << 16) };
    // The end record is 22 bytes and a comment of at most 65 535.
    let lowest = bytes.len().saturating_sub(22 + 65_535);
    let end = (lowest..bytes.len().saturating_sub(21))
        .rev()
        .find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))
        .ok_or(TOO_EARLY)?;
    let (count, mut at) = (short(end + 10)?, long(end + 16)?);
    if count == 0xffff || at == 0xffff_ffff {
        return Err("it is larger than 4 GiB; save the model's state dict alone".to_string());
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        if bytes.get(at..).is_none_or(|rest| !rest.starts_with(b"PK\x01\x02")) {
            return Err(TOO_EARLY.to_string());
        }
        let (method, size, header) = (short(at + 10)?, long(at + 20)?, long(at + 42)?);
        let (name_length, extra, comment) = (short(at + 28)?, short(at + 30)?, short(at + 32)?);
        let name = bytes.get(at + 46..at + 46 + name_length).ok_or(TOO_EARLY)?;
        // The local header repeats the name and has extra bytes of its own, for alignment.
        let start = header + 30 + short(header + 26)? + short(header + 28)?;
        let data = bytes.get(start..start.checked_add(size).ok_or(TOO_EARLY)?).ok_or(TOO_EARLY)?;
        entries.push(Entry { name: String::from_utf8_lossy(name).into_owned(), data, compressed: method != 0 });
        at += 46 + name_length + extra + comment;
    }
    Ok(entries)
}
