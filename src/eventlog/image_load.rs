//! UEFI_IMAGE_LOAD_EVENT: where an image was loaded from, of which no digest covers a byte (PFP 1.06, section 10.2.3).

use crate::reader::Reader;

/// The device path, not yet looked into; `None` where the event's sizes do not fit.
pub(crate) fn device_path(data: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(data);
    // ImageLocationInMemory, ImageLengthInMemory, ImageLinkTimeAddress.
    reader.take(24)?;
    let size = reader.size64()?;
    let path = reader.take(size)?;
    reader.is_empty().then_some(path)
}

#[cfg(test)]
mod tests {
    use softtpm::image_load;

    use super::*;

    #[test]
    fn the_path_is_the_rest_of_the_event() {
        let good = image_load(b"path");
        assert_eq!(device_path(&good), Some(&b"path"[..]));
        assert_eq!(device_path(&image_load(&[])), Some(&[][..]));
        for kept in 0..good.len() {
            assert_eq!(device_path(&good[..kept]), None, "{kept}");
        }
        assert_eq!(device_path(&[good.as_slice(), &[0]].concat()), None);
        let mut long = good;
        long[24..32].fill(0xFF);
        assert_eq!(device_path(&long), None);
    }
}
