//! The plugins that tests load, each an example of this package and a file of `src/`.
//!
//! | guest | what it is |
//! |---|---|
//! | `alien` | imports an interface that nobody offers |
//! | `asker` | asks the person and the model |
//! | `caller` | calls, reads and fills in what it is told to, one after another or at once; logs and tells progress |
//! | `echoes` | gives its arguments back; built as a core module too, as `echoes.core` |
//! | `hog` | takes all the memory, output, answers and calls that it gets |
//! | `liar_answers` | answers with something else than its schema says |
//! | `liar_changes` | lists other tools the second time |
//! | `liar_duplicates` | lists two tools of one name |
//! | `liar_endless` | lists more than anybody wants to read |
//! | `liar_names` | lists a tool with an impossible name |
//! | `liar_schema` | lists a tool of which the schema is none |
//! | `looper` | computes, waits, or stalls for ever |
//! | `newer` | built for a version of our WIT that does not exist yet |
//! | `snoop` | tells all that it can see |
//! | `state` | counts: in its state, and in a static; breaks down when told |
//! | `trapper` | ends in every way but the right one |
//! | `typed` | plain typed functions and no import of ours |
