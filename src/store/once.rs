//! An error that stays is told once, not at every look.

use crate::directory::Fingerprint;

/// The last error told, with the state of the files that it was found in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Once(Option<(Vec<Fingerprint>, String)>);

impl Once {
    /// Whether this error, in this state of the files, is not the one told last. A state that cannot be
    /// read is an empty one.
    pub(crate) fn is_news(&mut self, state: Vec<Fingerprint>, error: &impl ToString) -> bool {
        let now = Some((state, error.to_string()));
        let is_news = self.0 != now;
        self.0 = now;
        is_news
    }

    /// All is well: whatever comes next is news.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_news_until_told_and_again_after_any_change() {
        let mut once = Once::default();
        let state = |size| vec![vec![("a".into(), [size, 0, 0, 0])]];
        assert!(once.is_news(state(1), &"bad"));
        assert!(!once.is_news(state(1), &"bad"));
        assert!(once.is_news(state(2), &"bad"), "the files have changed");
        assert!(once.is_news(state(2), &"worse"));
        assert!(!once.is_news(state(2), &"worse"));
        once.forget();
        assert!(once.is_news(state(2), &"worse"));
    }
}
