//! The names of messages (section 7.4).

use trainproof_poseidon::Tag;

pub(crate) const KEY: Tag = Tag::new("open");
pub(crate) const CAP: Tag = Tag::new("cap");
pub(crate) const CLAIMS: Tag = Tag::new("claims");
pub(crate) const ROUND: Tag = Tag::new("round");
pub(crate) const VALUES: Tag = Tag::new("value");
pub(crate) const WORD: Tag = Tag::new("word");
pub(crate) const FOLD: Tag = Tag::new("fold");
