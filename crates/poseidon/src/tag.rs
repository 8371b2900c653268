//! Names that separate domains (section 2.2).

use trainproof_field::Goldilocks;

/// A name of one to eight visible ASCII characters, as the element whose bytes, little endian, they are. Such an element is
/// not zero, and below 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(Goldilocks);

impl Tag {
    /// A leaf of a tree without salts.
    pub const LEAF: Self = Self::new("leaf");
    /// A leaf of a tree with salts.
    pub const SALTED_LEAF: Self = Self::new("saltleaf");
    /// An inner node of a tree.
    pub const NODE: Self = Self::new("node");
    /// The first message of every transcript.
    pub const STATEMENT: Self = Self::new("stmt");
    /// The message with the nonce that shows work.
    pub const GRIND: Self = Self::new("grind");

    /// The tag of a name. Made for constants.
    ///
    /// # Panics
    /// If the name does not have one to eight characters, all of them visible ASCII.
    #[must_use]
    pub const fn new(name: &str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= 8,
            "a tag has one to eight characters"
        );
        let mut word = 0;
        let mut i = bytes.len();
        while i > 0 {
            i -= 1;
            assert!(bytes[i].is_ascii_graphic(), "a tag is visible ASCII");
            word = word << 8 | bytes[i] as u64;
        }
        Self(Goldilocks::from_residue(word))
    }

    /// The element.
    #[must_use]
    pub const fn element(self) -> Goldilocks {
        self.0
    }
}
