//! Pictures of a call, drawn from its timeline and from nothing else: lines while it runs, lanes over time when it is
//! over, where the milliseconds of each answer went, and the same as SVG.
//!
//! Everything here is a pure function of [`Record`](rspp_specs::timeline::Record)s, so the picture of a recording is
//! the picture of the call. Start reading at [`Story`], which every drawing is made of.
//!
//! ```
//! use rspp::drawing::{Canvas, Charset, Story, lanes};
//!
//! let story = Story::of(&[]);
//! assert!(lanes(&story, Canvas { columns: 80, charset: Charset::Ascii }).is_empty());
//! ```

mod cast;
mod graph;
mod incidents;
mod lanes;
mod live;
mod loudness;
mod story;
mod svg;
mod text;
mod timeline;
mod waits;

pub use graph::graph_svg;
pub use incidents::{Incident, IncidentKind};
pub use lanes::lanes;
pub use live::{Live, LiveLine};
pub use loudness::Loudness;
pub use story::{Amount, Ending, Hold, Invocation, Lane, Story, Turn};
pub(crate) use svg::escaped;
pub use svg::{svg, svg_timeline};
pub use text::{Canvas, Charset, Role, Text};
pub use timeline::timeline;
pub use waits::{Part, Waits, waits};
