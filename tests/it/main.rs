//! Everything through the front door, told in the words of `toolcell_tests`.

mod tidy;
