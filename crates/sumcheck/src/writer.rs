//! What a prover speaks into.

use trainproof_field::Extension;
use trainproof_poseidon::{Tag, Transcript};

/// A proof as it grows, and the transcript that its messages go into.
#[derive(Debug)]
pub struct Writer<'a> {
    transcript: &'a mut Transcript,
    proof: Vec<Extension>,
}

impl<'a> Writer<'a> {
    /// An empty proof, with the transcript of what was said before it.
    #[must_use]
    pub fn new(transcript: &'a mut Transcript) -> Self {
        let proof = Vec::new();
        Self { transcript, proof }
    }

    /// Sends a message.
    pub fn send(&mut self, tag: Tag, message: &[Extension]) {
        self.transcript.absorb_extensions(tag, message);
        self.proof.extend_from_slice(message);
    }

    /// The next challenge.
    #[must_use = "a challenge that is not used binds nothing"]
    pub fn challenge(&mut self) -> Extension {
        self.transcript.challenge_extension()
    }

    /// Several challenges.
    #[must_use = "a challenge that is not used binds nothing"]
    pub fn challenges(&mut self, count: usize) -> Vec<Extension> {
        (0..count).map(|_| self.challenge()).collect()
    }

    /// The elements sent so far.
    #[must_use]
    pub fn elements(&self) -> &[Extension] {
        &self.proof
    }

    /// The proof: the encodings of its elements. Their number follows from the statement, so that nothing else is needed.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.proof.iter().flat_map(|x| x.to_bytes()).collect()
    }
}
