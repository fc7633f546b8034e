//! Writes every mutant of a source into it at once, and finds a mutant again in what was written.

use std::ops::Range;

use crate::site::Site;

/// A source with its mutants in it.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The text.
    pub(crate) text: String,
    /// For each site, the bytes of the text that it is now.
    ranges: Vec<Range<usize>>,
}

impl Rewritten {
    /// The index of the innermost site that holds the byte.
    pub(crate) fn site_at(&self, byte: usize) -> Option<usize> {
        let holding = self.ranges.iter().enumerate();
        holding
            .filter(|(_, range)| range.contains(&byte))
            .min_by_key(|(_, range)| range.len())
            .map(|(index, _)| index)
    }
}

/// `source` with all `sites`, each with the number of its first mutant.
pub(crate) fn rewrite(source: &str, sites: &[(Site, u32)]) -> Rewritten {
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, (site, first)) in sites.iter().enumerate() {
        let length = site.range.len();
        let shape = site.shape;
        // At one place, what ends goes before what begins; inner ends before outer, and outer
        // begins before inner.
        pieces.push(Piece {
            at: site.range.start,
            order: (1, usize::MAX - length, shape),
            text: site.before(*first),
            opens: Some(index),
            closes: None,
        });
        pieces.push(Piece {
            at: site.range.end,
            order: (0, length, shape),
            text: site.after(*first),
            opens: None,
            closes: Some(index),
        });
    }
    pieces.sort_by_key(|piece| (piece.at, piece.order));
    let mut text = String::with_capacity(source.len() * 4);
    let mut ranges = vec![0..0; sites.len()];
    let mut copied = 0;
    for piece in pieces {
        text.push_str(source.get(copied..piece.at).unwrap_or_default());
        copied = piece.at;
        if let Some(range) = piece.opens.and_then(|index| ranges.get_mut(index)) {
            range.start = text.len();
        }
        text.push_str(&piece.text);
        if let Some(range) = piece.closes.and_then(|index| ranges.get_mut(index)) {
            range.end = text.len();
        }
    }
    text.push_str(source.get(copied..).unwrap_or_default());
    Rewritten { text, ranges }
}

struct Piece {
    at: usize,
    order: (u8, usize, crate::site::Shape),
    text: String,
    opens: Option<usize>,
    closes: Option<usize>,
}
