//! What a program needs of the machine that it runs on, read from its file.

use std::io::Read as _;

use camino::Utf8Path;

/// Returns the platform that a program is for, `linux-x86_64`, according to its ELF header.
///
/// # Errors
/// The file cannot be read.
pub(super) fn platform(program: &Utf8Path) -> Result<String, crate::Error> {
    let mut header = [0; 20];
    let read = |source| crate::Error::io("read", program, source);
    let mut file = files::open(program).map_err(read)?;
    // Whatever is shorter is a script.
    let _ = file.read_exact(&mut header);
    let machine = u16::from_le_bytes([header[18], header[19]]);
    Ok(match (&header[..4], machine) {
        (b"\x7fELF", 0x3e) => "linux-x86_64".to_owned(),
        (b"\x7fELF", 0xb7) => "linux-arm64".to_owned(),
        _ => format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// Returns the oldest C library that has every symbol of a program, `2.34`; none if it names no version.
///
/// # Errors
/// The file cannot be read.
pub(super) fn glibc(program: &Utf8Path) -> Result<Option<String>, crate::Error> {
    const MARK: &[u8] = b"GLIBC_2.";
    /// How many bytes of a chunk are looked at again with the next one.
    const OVERLAP: usize = 16;
    let read = |source| crate::Error::io("read", program, source);
    let mut file = files::open(program).map_err(read)?;
    let mut buffer = vec![0; 256 << 10];
    let (mut kept, mut newest) = (0, None);
    loop {
        let count = file.read(&mut buffer[kept..]).map_err(read)?;
        let end = kept + count;
        let chunk = &buffer[..end];
        let mut at = 0;
        while let Some(found) = chunk[at..]
            .windows(MARK.len())
            .position(|bytes| bytes == MARK)
        {
            at += found + MARK.len();
            let digits = chunk[at..].iter().take_while(|byte| byte.is_ascii_digit());
            let minor = digits.fold(0_u32, |minor, digit| {
                minor.saturating_mul(10) + u32::from(digit - b'0')
            });
            newest = newest.max(Some(minor));
        }
        if count == 0 {
            return Ok(newest.map(|minor| format!("2.{minor}")));
        }
        kept = end.min(OVERLAP);
        buffer.copy_within(end - kept..end, 0);
    }
}
